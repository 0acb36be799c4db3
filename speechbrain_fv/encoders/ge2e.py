"""The GE2E speaker encoder in the shape of the package Resemblyzer, whose weights it takes."""

import math
from pathlib import Path

import torch
from torch.nn.functional import normalize, pad
from torchaudio.transforms import MelSpectrogram

from speechbrain_fv.encoders.common import load_strictly

SAMPLE_RATE = 16000  # Hz
FRAME = 160  # samples, 10 ms
WINDOW = 160  # frames, 1.6 s
STEP = 77  # frames, 1.3 windows a second
LEAST_COVERAGE = 0.75  # of the last window
LEVEL = 10 ** (-30 / 20)  # RMS to which quieter clips are raised


class GE2E(torch.nn.Module):
    """Three LSTM layers on windows of 1.6 s, whose unit vectors are averaged (Wan et al., 2018).

    Clips are raised to -30 dB below full scale where they are quieter; their mel spectrogram has 40
    bands of power and no logarithm.

    Arguments
    ---------
    checkpoint : str, optional
        Resemblyzer's file ``pretrained.pt``, or another of its ``model_state``; null: random
        weights.

    Raises
    ------
    ValueError
        If the file is missing or holds other weights.

    Example
    -------
    >>> GE2E()(0.1 * torch.randn(2, 48000)).shape
    torch.Size([2, 256])
    """

    num_features = 256

    def __init__(self, checkpoint=None):
        super().__init__()
        self.mel = MelSpectrogram(
            SAMPLE_RATE,
            n_fft=400,
            hop_length=FRAME,
            n_mels=40,
            norm="slaney",
            mel_scale="slaney",
            pad_mode="constant",
        )
        self.layers = torch.nn.ModuleDict(
            {
                "lstm": torch.nn.LSTM(40, 256, 3, batch_first=True),
                "linear": torch.nn.Linear(256, 256),
            }
        )
        if checkpoint:
            self._load(checkpoint)

    def forward(self, wavs, wav_lens=None):
        """Returns unit vectors, shape (B, 256), of waveforms of 16 kHz, shape (B, samples)."""
        level = wavs.square().mean(dim=1, keepdim=True).sqrt()
        wavs = wavs * (LEVEL / level.clamp_min(1e-9)).clamp_min(1)
        starts = window_starts(wavs.shape[1])
        missing = max(0, (starts[-1] + WINDOW) * FRAME - wavs.shape[1])
        frames = self.mel(pad(wavs, (0, missing))).transpose(1, 2)  # (B, T, 40)
        windows = torch.stack([frames[:, start : start + WINDOW] for start in starts], dim=1)
        _, (hidden, _) = self.layers["lstm"](windows.flatten(0, 1))
        vectors = normalize(self.layers["linear"](hidden[-1]).relu(), dim=1)
        return normalize(vectors.view(len(wavs), len(starts), -1).mean(dim=1), dim=1)

    def _load(self, checkpoint):
        if not Path(checkpoint).is_file():
            raise ValueError(f"{checkpoint}: no such file; expected the weights of a GE2E encoder")
        try:
            state = torch.load(checkpoint, map_location="cpu", weights_only=True)
            state = state.get("model_state", state)
            state = {name: value for name, value in state.items() if "similarity" not in name}
            load_strictly(self.layers, state, checkpoint)
        except Exception as error:  # of torch and of pickle, of many kinds
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"{checkpoint}: not the weights of a GE2E encoder ({reason})"
            ) from error


def window_starts(num_samples):
    """Returns the first frame of every window of a clip, as Resemblyzer cuts it.

    Example
    -------
    >>> window_starts(3 * SAMPLE_RATE)
    [0, 77, 154]
    """
    num_frames = math.ceil((num_samples + 1) / FRAME)
    starts = list(range(0, max(1, num_frames - WINDOW + STEP + 1), STEP))
    coverage = (num_samples / FRAME - starts[-1]) / WINDOW
    return starts[:-1] if coverage < LEAST_COVERAGE and len(starts) > 1 else starts
