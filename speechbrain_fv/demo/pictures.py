"""Small pictures and sounds of clips as `data:` addresses, which need no further request."""

import base64
import io

import soundfile
from matplotlib.figure import Figure
from PIL import Image, ImageOps
from torchvision.transforms.v2.functional import to_pil_image

from speechbrain_fv.figures.plots.spectrogram import RANGE_DB, spectrogram
from speechbrain_fv.figures.plots.style import finished
from speechbrain_fv.media.resampling import resample

FACE_SIDE = 224  # pixels: twice the size on the page, for dense screens


def face_picture(image):
    """Returns the middle of a face image (3, H, W) as a square JPEG of `FACE_SIDE` pixels.

    Example
    -------
    >>> import torch
    >>> face_picture(torch.zeros(3, 40, 30, dtype=torch.uint8))[:30]
    'data:image/jpeg;base64,/9j/4AA'
    """
    square = ImageOps.fit(to_pil_image(image), (FACE_SIDE, FACE_SIDE), Image.Resampling.LANCZOS)
    return _address(square, "jpeg", quality=85)


def voice_picture(samples, rate, heard=None, small=False):
    """Returns a spectrogram as PNG, of levels in dB below the loudest.

    Arguments
    ---------
    samples : array of shape (samples,)
    rate : int
        In Hz.
    heard : tuple of float, optional
        Beginning and end in seconds of what the model takes; marked by lines.
    small : bool
        Without axes, for a list.
    """
    figure = Figure(figsize=(2.4, 1.2) if small else (3.6, 1.6))  # readable on a phone
    figure.set_layout_engine("none" if small else "constrained")
    axes = figure.add_axes((0, 0, 1, 1)) if small else figure.subplots()
    levels, highest = spectrogram(samples, rate)
    axes.imshow(
        levels,
        origin="lower",
        aspect="auto",
        cmap="Greys",
        vmin=-RANGE_DB,
        vmax=0,
        extent=(0, max(len(samples), 1) / rate, 0, highest / 1000),
    )
    for seconds in heard or ():
        axes.axvline(seconds, color="#0072B2", linewidth=1.5)
    if small:
        axes.set_axis_off()
    else:
        axes.set(xlabel="time [s]", ylabel="kHz")
        finished(figure, grid="both")
        axes.grid(False)
    file = io.BytesIO()
    figure.savefig(file, dpi=110 if small else 220, format="png")
    return _encoded(file.getvalue(), "image/png")


def voice_sound(samples, rate, new_rate):
    """Returns a recording as FLAC, which all browsers play.

    Arguments
    ---------
    samples : torch.Tensor of float32, shape (samples,)
    rate, new_rate : int
        That of the samples and that of the FLAC, in Hz.

    Example
    -------
    >>> import torch
    >>> voice_sound(torch.zeros(800), 8000, 16000)[:22]
    'data:audio/flac;base64'
    """
    file = io.BytesIO()
    soundfile.write(file, resample(samples, rate, new_rate).numpy(), new_rate, format="FLAC")
    return _encoded(file.getvalue(), "audio/flac")


def _address(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return _encoded(file.getvalue(), f"image/{kind}")


def _encoded(content, kind):
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
