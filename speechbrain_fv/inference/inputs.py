"""What users pass, checked and made ready for the encoders."""

import torch
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor


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
        return prepared_image(images, reader)
    images = images if isinstance(images, list | tuple) else [images]
    return [prepared_image(_as_pixels(image), reader) for image in images]


def prepared_image(image, reader):
    """Returns one image, or several of one size, from (..., 3, H, W); see `prepared_images`."""
    if image.ndim not in (3, 4) or image.shape[-3] != 3 or not image.numel():
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
        return pil_to_tensor(image.convert("RGB"))
    if not isinstance(image, torch.Tensor):
        raise ValueError(
            f"images: expected tensors (3, H, W) or PIL images, got {type(image).__name__}; "
            "encode_face_files reads files"
        )
    return image


def windows(wavs, wav_lens, reader):
    """Returns the middle window of each clip, as the reader takes it of a file.

    Arguments
    ---------
    wavs : torch.Tensor of shape (B, samples) or (samples,)
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
        If shape, type or range are others, or a clip is empty, silent or not finite.
    """
    if isinstance(wavs, list | tuple) or not torch.as_tensor(wavs).is_floating_point():
        raise ValueError("wavs: expected a tensor of floats, shape (B, samples), padded with zeros")
    wavs = torch.atleast_2d(torch.as_tensor(wavs))
    if wavs.ndim != 2 or not wavs.numel():
        raise ValueError(f"wavs: expected the shape (B, samples), got {tuple(wavs.shape)}")
    lengths = _lengths(wavs, wav_lens)
    inside = torch.arange(wavs.shape[1], device=wavs.device) < lengths[:, None]
    wavs = wavs.float().where(inside, 0)
    for fault, clips in (
        ("holds NaN or infinity", ~wavs.isfinite().all(dim=1)),
        ("is silent", (wavs == 0).all(dim=1)),
    ):
        if clips.any():
            raise ValueError(f"wavs: clip {int(clips.nonzero()[0])} {fault}")
    wanted = reader.num_samples
    first = (lengths - wanted).clamp_min(0) // 2
    steps = torch.arange(wanted, device=wavs.device) % lengths.clamp_max(wanted)[:, None]
    return wavs.gather(1, first[:, None] + steps)


def _lengths(wavs, wav_lens):
    """Returns the number of samples of each clip, shape (B,)."""
    if wav_lens is None:
        return torch.full((len(wavs),), wavs.shape[1], device=wavs.device)
    wav_lens = torch.as_tensor(wav_lens, device=wavs.device)
    if wav_lens.shape != (len(wavs),) or not ((wav_lens > 0) & (wav_lens <= 1)).all():
        raise ValueError(
            f"wav_lens: expected {len(wavs)} relative lengths in (0, 1], got {wav_lens.tolist()}"
        )
    return (wav_lens * wavs.shape[1]).round().long().clamp_min(1)


def vectors(modality, given):
    """Returns precomputed vectors as float32 of shape (B, D), from (B, D) or (D,).

    Raises
    ------
    ValueError
        If shape or type are others, or a value is not finite.
    """
    given = torch.atleast_2d(torch.as_tensor(given))
    if given.ndim != 2 or not given.is_floating_point() or not given.isfinite().all():
        raise ValueError(
            f"{modality}: expected finite vectors of shape (B, D), got {given.dtype} of shape "
            f"{tuple(given.shape)}"
        )
    return given.float()


def is_single(probe):
    """Whether a probe is one face or one voice, without an axis for several."""
    return isinstance(probe, Image.Image) or (
        isinstance(probe, torch.Tensor) and probe.ndim in (1, 3)
    )
