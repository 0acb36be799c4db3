"""What a comparison returns."""

from typing import NamedTuple

import torch

from speechbrain_fv.inference.inputs import Skipped


class Verification(NamedTuple):
    """Whether a face and a voice belong to one person; unpacks into its three fields.

    Of one face file and one voice file the fields are a float, a float and a bool.

    score : torch.Tensor of shape (B,)
        By the model's `score`: unless it has another one, the cosine of f* and v*, in [-1, 1].
    probability : torch.Tensor of shape (B,)
        Of one person, when as many pairs show one person as two; in [0, 1].
    decision : torch.Tensor of shape (B,), bool
        Whether the score reaches the model's `threshold`, where the probability is 50 %.
    """

    score: torch.Tensor
    probability: torch.Tensor
    decision: torch.Tensor


class Ranking(NamedTuple):
    """The candidates from the best to the worst; unpacks into its three fields.

    indices : torch.Tensor of shape (N,), or (B, N) for B probes, int64
        Places in the list of candidates; equal scores keep their order.
    scores : torch.Tensor of the same shape
        Falling along the last axis.
    probabilities : torch.Tensor of the same shape, or None
        Each pair's own, as in `Verification`; they do not sum to 1. None where the model ranks
        candidates and tells nothing of a pair.
    """

    indices: torch.Tensor
    scores: torch.Tensor
    probabilities: torch.Tensor | None


class FileVerification(Verification):
    """A `Verification` of files.

    Where a file of a pair could not be used, score and probability are NaN and the decision is
    False.

    Attributes
    ----------
    skipped : list of (str, str)
        Which files could not be used, and why; empty unless ``on_error="skip"`` was given.
    """

    skipped: Skipped = ()


class FileRanking(Ranking):
    """A `Ranking` of files: its places are those of the list that was given, without the skipped.

    Attributes
    ----------
    files : list of str
        The names of the candidates, best first, as `indices`.
    skipped : list of (str, str)
        As for `FileVerification`.
    """

    files: list[str] = ()
    skipped: Skipped = ()
