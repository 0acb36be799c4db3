"""Readers: what one row of a manifest becomes, an image, a window of speech or a vector.

Each is called with the columns that its `takes` names, and with `draw`: the seed of its random
choices in training, None in evaluation. One with a method `raw`, which takes the same, splits the
work: what `raw` returns leaves the reading process, and `finish` makes of a batch of it, on the
device, what the call returns. `stored` is what a cache keeps of a clip, and `view` makes of that
what `raw` returns.
"""

import functools

import numpy as np
import torch

from speechbrain_fv.arrays import array_shape, read_arrays
from speechbrain_fv.data.schema import parse_speech
from speechbrain_fv.media.audio import AudioFile
from speechbrain_fv.media.files import reason_of
from speechbrain_fv.media.images import decode_image
from speechbrain_fv.media.resampling import resample
from speechbrain_fv.names import names_of

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
CROPS = ("center", "squash")


class ImageReader:
    """Reads a face: resized, cropped at random and flipped for training, centre crop otherwise.

    Arguments
    ---------
    image_size : int
        Side of the square crop, in pixels.
    resize : int
        Length to which the image's shorter side is resized first, in pixels, at least `image_size`.
    mean, std : sequence of three float
        Of red, green and blue in [0, 1]; each pixel becomes (value - mean) / std. The default is
        ImageNet's, which most networks of timm take.
    interpolation : str
        "nearest", "bilinear" or "bicubic".
    crop : str
        "center" keeps the shape of what is shown; "squash" resizes both sides to `resize`.
    augment : bool
        False: training reads images as evaluation does.

    Raises
    ------
    ValueError
        If a length is no positive whole number, `resize` is smaller than `image_size`, or another
        value is none of those above.
    """

    takes = ("image",)

    def __init__(
        self,
        image_size,
        resize,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        interpolation="bilinear",
        crop="center",
        augment=True,
    ):
        self.augment = augment
        self.configure(image_size, resize, mean, std, interpolation, crop)

    def configure(self, image_size, resize, mean, std, interpolation, crop):
        """Sets how images are read, as the arguments of the same names do."""
        from torchvision.transforms import v2

        for name, pixels in (("image_size", image_size), ("resize", resize)):
            if type(pixels) is not int or pixels < 1:
                raise ValueError(f"{name}: expected a number of pixels, got {pixels!r}")
        if resize < image_size:
            raise ValueError(f"resize: expected at least image_size = {image_size}, got {resize}")
        for name, values in (("mean", mean), ("std", std)):
            if not _are_channels(values) or (name == "std" and min(values) <= 0):
                above = " above 0" if name == "std" else ""
                raise ValueError(f"{name}: expected three numbers{above}, got {values!r}")
        for name, value, known in (
            ("interpolation", interpolation, INTERPOLATIONS),
            ("crop", crop, CROPS),
        ):
            if value not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
        self.image_size, self.resize = image_size, resize
        size = [resize, resize] if crop == "squash" else resize
        self.resized = v2.Resize(size, v2.InterpolationMode(interpolation), antialias=True)
        self.mean, self.std = list(mean), list(std)

    def __call__(self, image, draw):
        """Returns a normalised face.

        Arguments
        ---------
        image : str
            Path of the image file.
        draw : int or None
            Seed of the augmentation; None for evaluation.

        Returns
        -------
        face : torch.Tensor of float32, shape (3, image_size, image_size)
        """
        return self.finish(self.raw(image, draw))

    def raw(self, image, draw):
        """Returns the face before it is normalised: uint8, shape (3, image_size, image_size)."""
        return self.view(self.stored(image), draw)

    def stored(self, image):
        """Returns all of the resized image: uint8, shape (3, H, W)."""
        try:
            return self.resized(decode_image(image))
        except (ValueError, OSError) as error:
            raise _changed(image, error) from error

    def view(self, pixels, draw):
        """Returns the crop of a resized image (..., H, W) that a draw chooses, perhaps mirrored."""
        from torchvision.transforms import v2

        size = self.image_size
        if draw is None or not self.augment:
            return v2.functional.center_crop(pixels, [size, size])
        rng = torch.Generator().manual_seed(draw)
        spare = [length - size for length in pixels.shape[-2:]]
        top, left = (
            int(torch.randint(most + 1, (), generator=rng)) if most else 0 for most in spare
        )
        pixels = pixels[..., top : top + size, left : left + size]
        return pixels.flip(-1) if torch.rand(1, generator=rng) < 0.5 else pixels

    def finish(self, pixels):
        """Returns pixels (..., 3, H, W) of uint8 as float32, normalised."""
        from torchvision.transforms import v2

        mean, std = _channels(tuple(self.mean), tuple(self.std), pixels.device)
        return v2.functional.to_dtype(pixels, torch.float32, scale=True).sub(mean).div_(std)

    def centred(self, pixels):
        """Returns images (..., 3, H, W) of uint8 as evaluation reads them."""
        return self.finish(self.view(self.resized(pixels), None))


class SpeechReader:
    """Reads a window of a clip's speech.

    Of codings that allow it only the samples of the window leave the disk; others are decoded up
    to its end, so that a window has the samples of the whole file in use.

    The speech segments of a clip, joined, are one stretch of time. From a stretch longer than the
    window a window is drawn for training, and the middle taken otherwise; a shorter one is tiled.

    Arguments
    ---------
    clip_seconds : float
        Length of the window, in seconds.
    sample_rate : int
        Rate of the returned samples, in Hz; files at other rates are resampled.
    augment : bool
        False: training reads clips as evaluation does.

    Raises
    ------
    ValueError
        If one of them is no positive number, or the rate is not whole.
    """

    takes = ("wav", "start", "stop", "speech")

    def __init__(self, clip_seconds, sample_rate=16000, augment=True):
        if type(clip_seconds) not in (int, float) or not clip_seconds > 0:
            raise ValueError(f"clip_seconds: expected a number above 0, got {clip_seconds!r}")
        if type(sample_rate) is not int or sample_rate < 1:
            raise ValueError(f"sample_rate: expected a whole number of Hz, got {sample_rate!r}")
        self.sample_rate, self.augment = sample_rate, augment
        self.num_samples = round(clip_seconds * sample_rate)

    def __call__(self, wav, start, stop, speech, draw):
        """Returns a mono window.

        Arguments
        ---------
        wav : str
            Path of the audio file.
        start, stop : int
            The clip, in samples of the file.
        speech : str
            Its speech segments as "start:stop;start:stop", empty for all of it.
        draw : int or None
            Seed of the window; None for evaluation.

        Returns
        -------
        samples : torch.Tensor of float32, shape (clip_seconds x sample_rate,)
            In [-1, 1].
        """
        segments = parse_speech(speech) or [(start, stop)]
        num_samples = sum(last - first for first, last in segments)

        def chosen(rate):
            return _cut(segments, self._offset(num_samples, rate, draw), self._wanted(rate))

        return self._fitted(*_read(wav, segments[-1][1], chosen))

    def stored(self, wav, start, stop, speech):
        """Returns all of a clip's speech at the reader's rate: int16, shape (num_samples,)."""
        segments = parse_speech(speech) or [(start, stop)]
        samples, rate = _read(wav, segments[-1][1], lambda rate: segments)
        if rate != self.sample_rate:
            samples = resample(samples, rate, self.sample_rate)
        return (samples * 2**15).round().clamp(-(2**15), 2**15 - 1).to(torch.int16)

    def view(self, samples, draw):
        """Returns the window of a clip's speech (num_samples,), all at the reader's rate."""
        offset = self._offset(len(samples), self.sample_rate, draw)
        return self._fitted(samples[offset : offset + self.num_samples], self.sample_rate)

    def finish(self, samples):
        """Returns samples in [-1, 1], of int16 or of float32, as float32."""
        return samples if samples.dtype == torch.float32 else samples.float() / 2**15

    def window(self, samples, rate):
        """Returns the window that evaluation takes of a clip which is in memory already.

        Arguments
        ---------
        samples : torch.Tensor of float32, shape (num_samples,)
            Mono speech in [-1, 1], at least one sample.
        rate : int
            Its sample rate in Hz.

        Returns
        -------
        samples : torch.Tensor of float32, shape (clip_seconds x sample_rate,)
        """
        wanted = self._wanted(rate)
        offset = max(len(samples) - wanted, 0) // 2
        return self._fitted(samples[offset : offset + wanted], rate)

    def _offset(self, num_samples, rate, draw):
        """Where the window begins in a clip's speech, in samples at a rate."""
        spare = max(num_samples - self._wanted(rate), 0)
        if draw is None or not self.augment or not spare:
            return spare // 2
        return int(np.random.default_rng(draw).integers(spare))

    def _wanted(self, rate):
        """The length of the window in samples of a file."""
        return -(-self.num_samples * rate // self.sample_rate)

    def _fitted(self, window, rate):
        """Resamples a window, and tiles it where the clip was too short."""
        if rate != self.sample_rate:
            window = resample(window, rate, self.sample_rate)
        if len(window) < self.num_samples:
            window = window.repeat(-(-self.num_samples // len(window)))
        return window[: self.num_samples]


class EmbeddingReader:
    """Reads a clip's precomputed vector from an `.npz` file.

    Arguments
    ---------
    path : str
        The file.
    ids_key : str
        Name of its array of clip IDs, shape (N,).
    vectors_key : str
        Name of its array of vectors, shape (N, D).
    """

    takes = ("ID",)

    def __init__(self, path, ids_key, vectors_key):
        self.path, self.ids_key, self.vectors_key = path, ids_key, vectors_key

    def width(self):
        """Returns D as the file's header tells it; None where it does not."""
        shape = array_shape(self.path, self.vectors_key)  # the preparation tells what is wrong
        return shape[1] if shape and len(shape) == 2 else None

    @functools.cached_property
    def _vectors(self):
        arrays, _ = read_arrays(self.path, [self.vectors_key, self.ids_key])
        vectors = torch.from_numpy(arrays[self.vectors_key].astype(np.float32))
        ids = names_of(arrays[self.ids_key], f"{self.path}: {self.ids_key}")
        return dict(zip(ids, vectors, strict=True))

    def __call__(self, clip, draw):
        """Returns the vector of a clip, shape (D,); nothing is drawn."""
        return self._vectors[clip]


@functools.lru_cache(maxsize=8)
def _channels(mean, std, device):
    """Returns mean and std on a device, each of shape (3, 1, 1).

    torchvision's normalize copies them there every time, which waits for all the GPU has to do.
    """
    return [
        torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1)
        for values in (mean, std)
    ]


def _are_channels(values):
    return isinstance(values, list | tuple) and [
        type(value) in (int, float) for value in values
    ] == ([True] * 3)


def _read(wav, stop, chosen):
    """The samples of a file in the segments that `chosen` names at its rate, joined; the rate.

    A file that has been shortened since, to less than `stop` samples, is lost, whatever is chosen.
    """
    try:
        with AudioFile(wav) as file:
            wanted = chosen(file.rate)
            parts = [file.read(*part) for part in wanted] if file.num_samples >= stop else []
    except (ValueError, OSError) as error:
        raise _changed(wav, error) from error
    if sum(map(len, parts)) < sum(last - first for first, last in wanted):
        raise _changed(wav, f"it ends before sample {stop}, up to which the manifest has speech")
    samples = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return torch.from_numpy(samples), file.rate


def _cut(segments, offset, length):
    """The parts of (start, stop) segments that a window of their joined time covers."""
    parts = []
    for first, last in segments:
        begin = first + min(offset, last - first)
        end = min(last, begin + length)
        offset -= begin - first
        length -= end - begin
        if end > begin:
            parts.append((begin, end))
    return parts


class LostFile(ValueError):
    """A file that the preparation could read and the training cannot.

    Arguments
    ---------
    text : str
        The file, and the reason. Or what torch makes of that where a reading process raised it: its
        traceback, which ends with the error.
    path : str
        The file.
    """

    def __init__(self, text, path=""):
        self.text = text.rpartition(f"{type(self).__name__}: ")[2].strip().removesuffix(_REMEDY)
        self.path = path
        super().__init__(self.text + _REMEDY)


_REMEDY = "; restore the file, and the same command goes on"


def _changed(path, error):
    reason = reason_of(error, path)
    text = f"{path}: cannot be read although the preparation could ({reason})"
    return LostFile(text, str(path))
