"""What users pass, checked and made ready for the encoders."""

import contextlib
from collections.abc import Sequence
from typing import IO, Literal

import numpy as np
import torch
from PIL import Image

from speechbrain_fv.files import PathLike
from speechbrain_fv.media.bounds import LEAST, MAX_PEAK

Array = torch.Tensor | np.ndarray
Pixels = Array | Image.Image
Faces = Pixels | Sequence[Pixels]
Voices = Array | Sequence[Array]
Source = PathLike | bytes | IO[bytes]
"""A file: its path, its bytes, or opened for reading bytes."""

Paths = Source | Sequence[Source]
OnError = Literal["raise", "skip"]
Skipped = list[tuple[str, str]]

BATCH_SIZE = 64
SHORTEST_SECONDS = 0.05  # a shorter axis means another matrix, such as (samples, channels)


def prepared_images(images, reader):
    """Returns images as a face encoder takes them.

    Arguments
    ---------
    images : torch.Tensor of shape (B, 3, H, W) or (3, H, W), PIL image, or list
        See `FaceVoiceAssociation.encode_face`.
    reader : ImageReader

    Returns
    -------
    prepared : torch.Tensor, or list of torch.Tensor, of B times (3, image_size, image_size)

    Raises
    ------
    ValueError
        If an image is of another shape, type or range.
    """
    if isinstance(images, torch.Tensor) and images.ndim == 4:
        return prepared_image(images, reader, axes=4)
    images = images if isinstance(images, list | tuple) else [images]
    if not images:
        raise ValueError("images: expected at least one, got an empty list")
    return [prepared_image(_as_pixels(image), reader) for image in images]


def prepared_image(image, reader, axes=3):
    """Returns one image (3, H, W), or with 4 axes several of one size; see `prepared_images`."""
    if image.ndim != axes or image.shape[-3] != 3 or not image.numel():
        raise ValueError(f"images: expected RGB of shape (3, H, W), got {tuple(image.shape)}")
    if image.is_floating_point():
        if not (image.isfinite().all() and image.min() >= 0 and image.max() <= 1):
            raise ValueError("images: expected floats in [0, 1], got others; uint8 works too")
        image = (255 * image).round().to(torch.uint8)
    if image.dtype != torch.uint8:
        raise ValueError(f"images: expected uint8, or floats in [0, 1], got {image.dtype}")
    return reader.centred(image)


def _as_pixels(image):
    if isinstance(image, Image.Image):
        from torchvision.transforms.v2.functional import pil_to_tensor

        return pil_to_tensor(image.convert("RGB"))
    if not isinstance(image, torch.Tensor):
        raise ValueError(
            f"images: expected tensors (3, H, W) or PIL images, got {type(image).__name__}; "
            "PIL.Image.fromarray takes arrays (H, W, 3), encode_face_files reads files"
        )
    return image


def windows(wavs, wav_lens, reader):
    """Returns the middle window of each clip, as the reader cuts it from a file.

    Arguments
    ---------
    wavs : torch.Tensor or array of shape (B, samples) or (samples,)
        Mono, at the reader's rate.
    wav_lens : torch.Tensor of shape (B,), optional
        Relative lengths in (0, 1].
    reader : SpeechReader

    Returns
    -------
    windows : torch.Tensor of float32, shape (B, reader.num_samples)

    Raises
    ------
    ValueError
        If shape, type or range are others, or a clip is too short, silent or not finite.
    """
    if isinstance(wavs, np.ndarray) and wavs.dtype.kind == "f":
        wavs = _as_tensor(wavs)
    if not isinstance(wavs, torch.Tensor) or not wavs.is_floating_point():
        kind = getattr(wavs, "dtype", type(wavs).__name__)
        raise ValueError(
            "wavs: expected a tensor of floats, shape (B, samples), padded with zeros, got "
            f"{kind}; encode_voice_files reads files"
        )
    wavs = torch.atleast_2d(wavs)
    if wavs.ndim != 2 or not wavs.numel():
        raise ValueError(f"wavs: expected the shape (B, samples), got {tuple(wavs.shape)}")
    lengths = _lengths(wavs, wav_lens)
    inside = torch.arange(wavs.shape[1], device=wavs.device) < lengths[:, None]
    wavs = wavs.float().where(inside, 0)
    _check_clips(wavs, lengths, reader.sample_rate)
    wanted = reader.num_samples
    first = (lengths - wanted).clamp_min(0) // 2
    steps = torch.arange(wanted, device=wavs.device) % lengths.clamp_max(wanted)[:, None]
    return wavs.gather(1, first[:, None] + steps)


def _check_clips(wavs, lengths, sample_rate):
    """Raises ValueError for the first clip that is not usable; padding (B, samples) is zero."""
    level = wavs.square().sum(dim=1) / lengths - (wavs.sum(dim=1) / lengths).square()
    shortest = SHORTEST_SECONDS * sample_rate
    for clips, fault in (
        (~wavs.isfinite().all(dim=1), "holds NaN or infinity; leave it out"),
        (
            wavs.abs().amax(dim=1) > MAX_PEAK,
            f"exceeds {MAX_PEAK:g}; scale it to [-1, 1]",
        ),
        (
            lengths < shortest,
            f"is shorter than {SHORTEST_SECONDS:g} s, {shortest:g} samples; expected the shape "
            f"(B, samples), the shape is {tuple(wavs.shape)}",
        ),
        (
            level < 10 ** (LEAST.level_db / 10),
            f"is silent, below {LEAST.level_db:g} dB; leave it out, or scale it to [-1, 1]",
        ),
    ):
        if clips.any():
            raise ValueError(f"wavs: clip {int(clips.nonzero()[0])} {fault}")


def _lengths(wavs, wav_lens):
    """Returns the number of samples of each clip, shape (B,)."""
    if wav_lens is None:
        return torch.full((len(wavs),), wavs.shape[1], device=wavs.device)
    given = wav_lens
    try:
        wav_lens = torch.as_tensor(given, device=wavs.device)
        valid = wav_lens.shape == (len(wavs),) and ((wav_lens > 0) & (wav_lens <= 1)).all()
    except (TypeError, ValueError, RuntimeError):  # no numbers
        valid = False
    if not valid:
        raise ValueError(
            f"wav_lens: expected {len(wavs)} relative lengths in (0, 1], got {given!r:.200}"
        )
    return (wav_lens * wavs.shape[1]).round().long().clamp_min(1)


def vectors(modality, given):
    """Returns precomputed vectors as float32 of shape (B, D), from (B, D) or (D,).

    Raises
    ------
    ValueError
        If shape or type are others, there is none, or a value is not finite.
    """
    if isinstance(given, list | tuple) and given:
        with contextlib.suppress(TypeError, ValueError, RuntimeError):  # no rows of numbers
            given = torch.stack([torch.as_tensor(row) for row in given])
    if isinstance(given, np.ndarray) and given.dtype.kind == "f":
        given = _as_tensor(given)
    if not isinstance(given, torch.Tensor) or not given.is_floating_point():
        kind = getattr(given, "dtype", type(given).__name__)
        raise ValueError(
            f"{modality}: expected a tensor of floats, precomputed vectors (B, D), got {kind}"
        )
    given = torch.atleast_2d(given).float()
    if given.ndim != 2 or not given.numel() or not given.isfinite().all():
        raise ValueError(
            f"{modality}: expected finite vectors of shape (B, D), at least one, got the shape "
            f"{tuple(given.shape)}"
        )
    return given


def _as_tensor(array):
    """Returns an array of floats as a tensor on the CPU, whatever its strides and byte order."""
    kind = np.float64 if array.dtype.itemsize >= 8 else np.float32
    return torch.as_tensor(np.ascontiguousarray(array, kind), device="cpu")


def gathered(given, embedding_dim):
    """Returns arrays of numpy as tensors, and a list of embeddings, each (K,) or (1, K) as the
    encoders return one, as a tensor (N, K)."""
    if isinstance(given, np.ndarray) and given.ndim < 3 and given.dtype.kind in "fiu":
        return torch.as_tensor(given, device="cpu")
    if isinstance(given, list | tuple) and given:
        rows = [gathered(row, embedding_dim) for row in given]
        if all(are_embeddings(row, embedding_dim) and row.numel() == embedding_dim for row in rows):
            return torch.stack([row.flatten() for row in rows])
    return given


def kind(given, embedding_dim):
    """Returns "face" or "voice" for what an encoder takes, None for embeddings.

    Raises
    ------
    ValueError
        If it is neither images nor waveforms nor embeddings.
    """
    first = given[0] if isinstance(given, list | tuple) and given else given
    if isinstance(first, list | tuple | Image.Image):
        return "face"
    if not isinstance(first, torch.Tensor | np.ndarray):
        raise ValueError(
            f"expected images, waveforms or embeddings, got {type(first).__name__}; match_files "
            "and verify_files take paths"
        )
    if first.ndim > 2:
        return "face"
    return None if are_embeddings(given, embedding_dim) else "voice"


def check_order(face, voice, embedding_dim):
    """Raises ValueError where images were given for the voice and waveforms for the face."""
    found = []
    for given in (face, voice):
        with contextlib.suppress(ValueError):  # neither; the encoders say what they take
            found.append(kind(given, embedding_dim))
    if found == ["voice", "face"]:
        raise ValueError(
            "verify: expected a face and a voice, got waveforms first and images second; give the "
            "face first"
        )


def are_embeddings(given, embedding_dim):
    """Whether something is embeddings: waveforms are longer, and vectors must be encoded first."""
    return (
        isinstance(given, torch.Tensor)
        and given.ndim in (1, 2)
        and given.shape[-1] == embedding_dim
    )


def checked_embeddings(modality, given, device):
    """Returns embeddings as float32 of shape (B, K), from (B, K) or (K,).

    Raises
    ------
    ValueError
        If they are no floats, not finite or zero.
    """
    if not given.is_floating_point():
        raise ValueError(f"{modality}: expected embeddings of floats, got {given.dtype}")
    embeddings = torch.atleast_2d(given).to(device).float()
    if not embeddings.isfinite().all():
        raise ValueError(f"{modality}: an embedding holds NaN or infinity")
    if not embeddings.any(dim=1).all():
        raise ValueError(f"{modality}: an embedding is zero and has no direction")
    return embeddings


def is_empty(given):
    """Whether a list or a tensor holds nothing."""
    if isinstance(given, torch.Tensor):
        return not given.numel()
    return isinstance(given, list | tuple) and not given


def is_single(probe):
    """Whether a probe is one face or one voice, without an axis for several."""
    return isinstance(probe, Image.Image) or (
        isinstance(probe, torch.Tensor) and probe.ndim in (1, 3)
    )


def check_default_dtype():
    """Raises ValueError where SpeechBrain's features would make numbers of another type."""
    if torch.get_default_dtype() != torch.float32:
        raise ValueError(
            f"torch's default type is {torch.get_default_dtype()}, the model computes in float32; "
            "call torch.set_default_dtype(torch.float32) first"
        )
