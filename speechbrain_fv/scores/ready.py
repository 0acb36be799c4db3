"""Scores made ready to compare, and told apart."""

import copy
import pickle

import torch

from speechbrain_fv.messages import in_one_line
from speechbrain_fv.scores.base import DIRECTIONS, Score
from speechbrain_fv.scores.vectors import Cosine, InnerProduct, NegativeL2


def frozen(score=None, device="cpu"):
    """Returns a copy of a score that only compares: in float64, evaluation mode, on a device.

    In float64 a comparison is the same in any batch to far below what float32 embeddings resolve,
    so that equal embeddings tie.

    Arguments
    ---------
    score : Score, optional
        `Cosine` by default.
    device : str or torch.device

    Raises
    ------
    ValueError
        If it is no `Score`.
    """
    score = Cosine() if score is None else score
    if not isinstance(score, Score):
        raise ValueError(
            "score: expected an object of a class of speechbrain_fv.scores or of a subclass, got "
            f"{type(score).__name__}; in a YAML, !new:speechbrain_fv.scores.Cosine"
        )
    return copy.deepcopy(score).to(device, torch.float64).eval().requires_grad_(False)


def with_weights(score, path=None):
    """Returns a score whose weights, if it has any, are those of a file.

    Arguments
    ---------
    score : Score
    path : str or Path, optional
        A .ckpt with the state of the score, as a checkpoint of its training holds it.

    Raises
    ------
    ValueError
        If it has weights and there is no file, or the file holds others; or it is no `Score`.
    """
    frozen(score)
    if path is None:
        if score.state_dict():
            raise ValueError(
                f"score_weights: expected a file, since {score.name} has weights, which would be "
                "random; name score.ckpt of a checkpoint of its training"
            )
        return score
    try:
        score.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, TypeError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path}: not the weights of {score.name} ({in_one_line(error)})"
        ) from error
    return score


def is_cosine(score):
    """Whether a score is the usual one: the cosine in both directions, or None."""
    return score is None or (type(score) is Cosine and score.directions == DIRECTIONS)


def by_name(name):
    """Returns the score without weights that has a `Score.name`; None where it is another.

    Example
    -------
    >>> by_name("NegativeL2(normalize=True)")
    NegativeL2(normalize=True)
    """
    known = (Cosine(), InnerProduct(), NegativeL2(), NegativeL2(normalize=True))
    return next((score for score in known if score.name == name), None)
