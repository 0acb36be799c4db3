"""The seed of a run, and whether torch may take faster ways that do not repeat themselves."""

import os

from speechbrain.utils import seed_everything


def seed_run(seed, deterministic=False):
    """Seeds Python, NumPy and torch.

    Arguments
    ---------
    seed : int
    deterministic : bool
        Whether torch takes repeatable algorithms alone. An operation that has none raises torch's
        error, which names it. cuBLAS is told by CUBLAS_WORKSPACE_CONFIG unless that is set.

    Example
    -------
    >>> import torch
    >>> seed_run(1)
    >>> torch.are_deterministic_algorithms_enabled()
    False
    """
    if deterministic:  # read when CUDA starts, which nothing before the settings does
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    seed_everything(seed, deterministic=deterministic)
