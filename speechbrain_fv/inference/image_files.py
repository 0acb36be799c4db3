"""Any image file -> upright RGB pixels.

The size is read from the header and checked before anything is decoded. JPEG is decoded by
torchvision, as `ImageReader` does in training; Pillow reads the headers and all other formats.
"""

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision.io import ImageReadMode, decode_image

from speechbrain_fv.inference.file_checks import check_file, first_line, unread_format

MAX_PIXELS = 50_000_000  # 150 MB decoded; phones take 12 to 50 million
MAX_IMAGE_BYTES = 500_000_000
MIN_IMAGE_SIDE = 32  # pixels, as in the preparation
MAX_ASPECT = 20  # of the sides: the reader enlarges the shorter one, and the longer one with it
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)

# Pillow also opens documents and scripts (EPS runs Ghostscript): only what holds photographs.
_IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
_TORCHVISION_FORMATS = ("JPEG", "MPO")  # MPO: a JPEG with a second picture behind it


def read_image(path, max_pixels=MAX_PIXELS):
    """Returns the image of a file, upright and in colour.

    An EXIF orientation is applied; grey, palette, CMYK and 16-bit images become 8-bit RGB, what is
    transparent becomes white, and of several frames the first is taken. An upright image without
    transparency has the pixels that `ImageReader` reads in training.

    Arguments
    ---------
    path : path
        A JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, AVIF or JPEG 2000 file.
    max_pixels : int
        Most pixels that are decoded; the header tells how many there are.

    Returns
    -------
    image : torch.Tensor of uint8, shape (3, H, W)

    Raises
    ------
    ValueError
        If the file is missing, no such image, broken or truncated, has more than `max_pixels`
        pixels, a side below 32 pixels or one 20 times as long as the other, or shows one colour
        only.

    Example
    -------
    >>> path = getfixture("tmp_path") / "face.png"
    >>> Image.effect_mandelbrot((48, 64), (-2, -1, 1, 1), 100).save(path)
    >>> read_image(path).shape
    torch.Size([3, 64, 48])
    """
    check_file(path, MAX_IMAGE_BYTES)
    file_format = _image_format(path, max_pixels)
    try:
        if file_format in _TORCHVISION_FORMATS:
            # From bytes: torchvision takes no path that is not Unicode.
            data = torch.from_numpy(np.fromfile(path, np.uint8))
            image = decode_image(data, ImageReadMode.RGB, apply_exif_orientation=True)
        else:
            image = _decode_with_pillow(path)
    except Exception as error:  # decoders raise errors of many kinds on broken files
        raise ValueError(
            f"{path}: {file_format} that cannot be decoded, broken or truncated "
            f"({first_line(error)}); copy or save the file again"
        ) from error
    if bool((image == image[:, :1, :1]).all()):
        raise ValueError(f"{path}: one colour only; expected a photo of a face")
    return image


def open_image(path):
    """Returns Pillow's image of a file of which only the header is read, to be closed.

    Raises
    ------
    Exception
        Of many kinds, as Pillow's plugins raise them; among `BOMBS` for sizes out of all bounds.
    """
    Image.init()  # registers the plugins; which there are depends on how Pillow was built
    return Image.open(path, formats=[name for name in _IMAGE_FORMATS if name in Image.OPEN])


def _image_format(path, max_pixels):
    """The format that an image's header tells, once its size is found to be in bounds."""
    try:
        with open_image(path) as image:
            file_format, (width, height) = image.format, image.size
    except BOMBS as error:
        raise ValueError(
            f"{path}: far more than {max_pixels} pixels ({first_line(error)}); scale it down"
        ) from error
    except Exception as error:  # the plugins of Pillow raise errors of many kinds
        what = unread_format(path, "face") or f"no image that can be read ({first_line(error)})"
        raise ValueError(f"{path}: {what}; convert it to JPEG or PNG") from error
    if width * height > max_pixels:
        raise ValueError(
            f"{path}: {width} x {height} pixels, expected at most {max_pixels} in all; "
            "scale it down"
        )
    if min(width, height) < MIN_IMAGE_SIDE:
        raise ValueError(
            f"{path}: {width} x {height} pixels, expected at least {MIN_IMAGE_SIDE} a side; "
            "take a larger picture"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ValueError(
            f"{path}: {width} x {height} pixels, expected the longer side to have at most "
            f"{MAX_ASPECT} times the shorter; cut out the face"
        )
    return file_format


def _decode_with_pillow(path):
    with open_image(path) as file:
        image = ImageOps.exif_transpose(file)
        if image.mode == "F":
            raise ValueError("floating-point pixels without a known range")
        if image.mode.startswith("I"):
            image = _high_bytes(image)
        if "A" in image.getbands() or "transparency" in image.info:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        pixels = np.array(image.convert("RGB"))  # (H, W, 3)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _high_bytes(image):
    """16-bit grey -> 8-bit grey; Pillow's own conversion would clip at 255."""
    values = np.array(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("pixels of more than 16 bits")
    return Image.fromarray((values >> 8).astype(np.uint8))
