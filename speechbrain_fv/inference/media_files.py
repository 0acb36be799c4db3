"""Any image or audio file of a user as pixels and samples, with bounds on what is decoded."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from PIL import Image, ImageOps
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2.functional import pil_to_tensor

MAX_PIXELS = 100_000_000
MAX_SECONDS = 600.0
MIN_SECONDS = 0.1
MIN_LEVEL_DB = -60.0  # RMS below full scale, as in the preparation of corpora
BLOCK_FRAMES = 2**20

_DECODED_AS_IN_TRAINING = {("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGB"), ("PNG", "L")}


class Recording(NamedTuple):
    """Mono samples as they lie in a file.

    samples : torch.Tensor of float32, shape (num_samples,), in [-1, 1]; channels are averaged
    rate : int, in Hz
    num_channels : int
    """

    samples: torch.Tensor
    rate: int
    num_channels: int


def read_image(path, max_pixels=MAX_PIXELS):
    """Returns the pixels of an image file: upright after its EXIF, RGB, transparency over white.

    Arguments
    ---------
    path : path
        Of any format Pillow reads.
    max_pixels : int
        Height times width that is decoded at most; the header tells it beforehand.

    Returns
    -------
    image : torch.Tensor of uint8, shape (3, H, W)

    Raises
    ------
    ValueError
        If the file is absent, no image, too large or damaged.
    """
    path = Path(path)
    _check_file(path, "an image such as .jpg or .png")
    try:
        with Image.open(path) as image:
            if image.width * image.height > max_pixels:
                raise ValueError(
                    f"{path}: {image.width} x {image.height} pixels, expected at most "
                    f"{max_pixels:,} in all; scale it down"
                )
            if (image.format, image.mode) in _DECODED_AS_IN_TRAINING:
                return decode_image(str(path), ImageReadMode.RGB, apply_exif_orientation=True)
            return pil_to_tensor(_as_rgb(ImageOps.exif_transpose(image)))
    except (OSError, SyntaxError, RuntimeError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not a readable image ({_first_line(error)})") from error


def _as_rgb(image):
    if image.mode.startswith(("I", "F")):  # 16 bits, or whatever range
        values = np.asarray(image, dtype=np.float64)
        scale = 257.0 if image.mode.startswith("I;16") or values.max() > 255 else 1.0
        image = Image.fromarray((values / scale).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def read_audio(path, max_seconds=MAX_SECONDS):
    """Returns the samples of an audio file, its channels averaged.

    Arguments
    ---------
    path : path
        Of any format soundfile reads: wav, flac, ogg, mp3 and others.
    max_seconds : float
        Length that is decoded at most; the header tells it beforehand, and is not believed.

    Returns
    -------
    Recording

    Raises
    ------
    ValueError
        If the file is absent, no audio, too long or too short, silent, damaged or not finite.
    """
    path = Path(path)
    _check_file(path, "a recording such as .wav, .flac, .ogg or .mp3")
    try:
        with soundfile.SoundFile(path) as file:
            rate, num_channels = file.samplerate, file.channels
            most = int(max_seconds * rate)
            if file.frames > most:
                raise _too_long(path, max_seconds)
            blocks = []
            while len(block := file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
                blocks.append(block.mean(axis=1))
                if sum(map(len, blocks)) > most:
                    raise _too_long(path, max_seconds)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise ValueError(
            f"{path}: not a readable recording ({_first_line(error)}); convert it to wav, flac, "
            "ogg or mp3, for example with ffmpeg -i IN OUT.wav"
        ) from error
    samples = np.concatenate([np.empty(0, np.float32), *blocks])
    _check_samples(path, samples, rate)
    return Recording(torch.from_numpy(samples), rate, num_channels)


def _check_samples(path, samples, rate):
    if len(samples) < MIN_SECONDS * rate:
        raise ValueError(
            f"{path}: {len(samples) / rate:.3f} s of sound, expected at least {MIN_SECONDS} s"
        )
    if not np.isfinite(samples).all():
        raise ValueError(f"{path}: it holds samples that are not finite; export it again")
    level = np.sqrt(np.mean(np.square(samples, dtype=np.float64)))
    if level < 10 ** (MIN_LEVEL_DB / 20):
        raise ValueError(
            f"{path}: silent, its level is below {MIN_LEVEL_DB:.0f} dB; record it louder"
        )


def media_kind(path):
    """Returns "face" for an image and "voice" for a recording, from the content of the file.

    Raises
    ------
    ValueError
        If it is neither.
    """
    path = Path(path)
    _check_file(path, "an image or a recording")
    try:
        with Image.open(path):
            return "face"
    except (OSError, SyntaxError, Image.DecompressionBombError):
        pass
    try:
        soundfile.info(path)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise ValueError(
            f"{path}: neither an image nor a recording that can be read; convert it to .jpg or .wav"
        ) from error
    return "voice"


def _check_file(path, expected):
    if not path.is_file():
        raise ValueError(f"{path}: expected {expected}, found {_found(path)}")
    if not path.stat().st_size:
        raise ValueError(f"{path}: expected {expected}, found an empty file")


def _found(path):
    return "a folder" if path.is_dir() else "no file"


def _too_long(path, max_seconds):
    return ValueError(f"{path}: longer than {max_seconds:.0f} s; cut out a passage of one voice")


def _first_line(error):
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
