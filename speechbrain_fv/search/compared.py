"""Search by any score: every embedding is scored, in float64."""

import numpy as np
import torch

from speechbrain_fv.scores import by_name, is_cosine
from speechbrain_fv.search.exact import CHUNK


def comparisons(score, kind):
    """Returns how queries are compared with each shelf; {} for cosines, which an index knows.

    Raises
    ------
    ValueError
        If the score cannot rank a gallery, or not by the kind of index.
    """
    if is_cosine(score):
        return {}
    reason = score.unable("retrieval")
    if reason:
        raise ValueError(f"gallery: {reason}")
    if kind not in ("auto", "exact"):
        raise ValueError(f"kind: expected auto or exact with the score {score.name}, got {kind!r}")
    return {
        "face": lambda voices, faces: score.table(faces, voices).T,
        "voice": lambda faces, voices: score.table(faces, voices),
    }


def saved_score(folder, manifest, score):
    """Returns the score of a gallery that was saved; ValueError if it is another one."""
    name = manifest.get("score", "Cosine")
    score = by_name(name) if score is None else score
    if score is None or score.name != name:
        got = "none" if score is None else score.name
        raise ValueError(
            f"{folder}: the gallery was made with the score {name!r:.200}, expected it, got {got}; "
            "pass the model, or the score"
        )
    return score


def best_rows(vectors, alive, queries, k, compare):
    """Returns the rows that score highest by any score, which compares all of them in float64.

    Arguments
    ---------
    vectors : array of shape (N, dim), float32
    alive : array of shape (N,), bool
        Which rows are searched.
    queries : array of shape (B, dim), float32
    k : int
        At most the number of rows to search.
    compare : function of queries (B, dim) and rows (n, dim), float64 tensors
        Returns scores (B, n).

    Returns
    -------
    rows : array of shape (B, k), int64
        Best first; of equal scores the earlier row.
    scores : array of shape (B, k), float32
    """
    with torch.device("cpu"), torch.autocast("cpu", enabled=False):
        queries = torch.from_numpy(queries).double()
        best = torch.empty(len(queries), 0, dtype=torch.float64)
        rows = torch.empty(len(queries), 0, dtype=torch.int64)
        for start in range(0, len(vectors), CHUNK):
            places = np.flatnonzero(alive[start : start + CHUNK]) + start
            scores = compare(queries, torch.from_numpy(vectors[places]).double())
            best = torch.cat([best, scores], 1)
            rows = torch.cat([rows, torch.from_numpy(places).expand(len(queries), -1)], 1)
            best, order = best.sort(dim=1, descending=True, stable=True)
            best, rows = best[:, :k], rows.gather(1, order[:, :k])
    return rows.numpy(), best.float().numpy()
