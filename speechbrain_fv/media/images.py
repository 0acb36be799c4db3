"""Any image file -> upright RGB pixels, for training and use alike.

The size is read from the header and checked before anything is decoded. JPEG is decoded by
torchvision; Pillow reads the headers and all other formats.
"""

import functools

import numpy as np
import torch
from PIL import Image, ImageOps

from speechbrain_fv.media.bounds import (
    LEAST,
    MAX_ASPECT,
    MAX_IMAGE_BYTES,
    MAX_PIXELS,
    ONE_COLOUR,
    size_fault,
)
from speechbrain_fv.media.files import (
    check_file,
    converting,
    first_line,
    unread_format,
    unreadable,
)

BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)

# Pillow also opens documents and scripts (EPS runs Ghostscript): only what holds photographs.
_IMAGE_FORMATS = (
    *("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000"),
    "HEIF",  # with the extra heic
)
_TORCHVISION_FORMATS = ("JPEG", "MPO")  # MPO: a JPEG with a second picture behind it


def read_image(path, max_pixels=MAX_PIXELS, min_pixels=LEAST.face_pixels):
    """Returns the image of a file as `decode_image` decodes it, if it can show a face.

    Arguments
    ---------
    path, max_pixels
        As for `decode_image`.
    min_pixels : int
        Shortest side of a usable image.

    Returns
    -------
    image : torch.Tensor of uint8, shape (3, H, W)

    Raises
    ------
    ValueError
        As `decode_image`; or if a side is shorter, or the image shows one colour only.

    Example
    -------
    >>> path = getfixture("tmp_path") / "face.png"
    >>> Image.effect_mandelbrot((48, 64), (-2, -1, 1, 1), 100).save(path)
    >>> read_image(path).shape
    torch.Size([3, 64, 48])
    """
    image = decode_image(path, max_pixels, min_pixels)
    if is_constant(image):
        raise ValueError(f"{path}: {ONE_COLOUR}")
    return image


def decode_image(path, max_pixels=MAX_PIXELS, min_pixels=1):
    """Returns the image of a file, upright and in colour.

    An EXIF orientation is applied; grey, palette, CMYK and 16-bit images become 8-bit RGB, what is
    transparent becomes white, and of several frames the first is taken.

    Arguments
    ---------
    path : path
        A JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, AVIF or JPEG 2000 file; HEIC with the extra `heic`.
        The content tells the format, not the name.
    max_pixels : int
        Most pixels that are decoded; the header tells how many there are.
    min_pixels : int
        Shortest side that is decoded.

    Returns
    -------
    image : torch.Tensor of uint8, shape (3, H, W)

    Raises
    ------
    ValueError
        If the file is missing, no such image, broken or truncated, has more than `max_pixels`
        pixels, or a side that is too short or 20 times shorter than the other.
    """
    check_file(path, MAX_IMAGE_BYTES)
    file_format = _image_format(path, max_pixels, min_pixels)
    try:
        if file_format in _TORCHVISION_FORMATS:
            from torchvision import io

            # From bytes: torchvision takes no path that is not Unicode.
            data = torch.from_numpy(np.fromfile(path, np.uint8))
            return io.decode_image(data, io.ImageReadMode.RGB, apply_exif_orientation=True)
        return _decode_with_pillow(path)
    except Exception as error:  # decoders raise errors of many kinds on broken files
        raise ValueError(
            f"{path}: {file_format} that cannot be decoded, broken or truncated "
            f"({first_line(error)}); copy or save the file again"
        ) from error


def open_image(path):
    """Returns Pillow's image of a file of which only the header is read, to be closed.

    Raises
    ------
    Exception
        Of many kinds, as Pillow's plugins raise them; among `BOMBS` for sizes out of all bounds.
    """
    return Image.open(path, formats=_formats())


def is_constant(image):
    """Whether an image (3, H, W) shows one colour only."""
    return bool((image == image[:, :1, :1]).all())


def reads_heic():
    """Whether HEIC can be read here: with the extra `heic`."""
    return "HEIF" in _formats()


@functools.cache
def _formats():
    """The formats that Pillow can open here; which there are depends on how it was built."""
    Image.init()  # registers the plugins
    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener(thumbnails=False)
    return tuple(name for name in _IMAGE_FORMATS if name in Image.OPEN)


def _image_format(path, max_pixels, min_pixels):
    """The format that an image's header tells, once its size is found to be in bounds."""
    try:
        with open_image(path) as image:
            file_format, (width, height) = image.format, image.size
    except BOMBS as error:
        raise ValueError(
            f"{path}: far more than {max_pixels} pixels ({first_line(error)}); scale it down"
        ) from error
    except Exception as error:  # the plugins of Pillow raise errors of many kinds
        conversion = converting(unread_format(path, "face"), "JPEG or PNG")
        raise ValueError(f"{path}: {unreadable(path, error, 'face', conversion)}") from error
    if width * height > max_pixels:
        raise ValueError(
            f"{path}: {width} x {height} pixels, expected at most {max_pixels} in all; "
            "scale it down"
        )
    fault = size_fault(width, height, min_pixels)
    if fault:
        raise ValueError(f"{path}: {fault}")
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
