"""Several clips of a person -> one embedding of the person, a weighted mean."""

import numpy as np

from speechbrain_fv.scores.ready import is_cosine


class CancelledError(ValueError):
    """The embeddings of a person's clips add up to nothing."""


def averaged(embeddings, owners, names, weights=None, score=None):
    """Returns one embedding per person, the weighted mean of those of the clips.

    Under the cosine, where only directions count, each clip is scaled to length 1 first, so that
    its weight alone says how much it counts. Under any other score embeddings are averaged as they
    are. Who has one clip keeps its embedding, to the last digit under another score, in its
    direction under the cosine.

    Arguments
    ---------
    embeddings : numpy.ndarray of shape (num_clips, dim)
    owners : numpy.ndarray of int, shape (num_clips,)
        Whose clip it is: a place in `names`; everybody has one.
    names : sequence of num_people str
        For messages.
    weights : numpy.ndarray of shape (num_clips,), optional
        At least 0, of each person some above; all equal by default.
    score : Score, optional
        How embeddings are compared; the cosine by default.

    Returns
    -------
    people : numpy.ndarray of float64, shape (num_people, dim)

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or those of a person are all 0.
    CancelledError
        If the embeddings of a person cancel each other; a ValueError too.

    Example
    -------
    >>> clips = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    >>> averaged(clips, np.array([0, 0, 1]), ["ann", "bob"], np.array([3.0, 1.0, 1.0])).tolist()
    [[0.75, 0.25], [0.0, 1.0]]
    """
    embeddings, owners = np.asarray(embeddings, np.float64), np.asarray(owners)
    weights = np.ones(len(owners)) if weights is None else np.asarray(weights, np.float64)
    if weights.shape != owners.shape:
        raise ValueError(
            f"weights: expected {len(owners)}, one per clip, got the shape {weights.shape}"
        )
    if not (np.isfinite(weights) & (weights >= 0)).all():
        worst = int(np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))[0])
        raise ValueError(
            f"weights: expected finite numbers of at least 0, got {weights[worst]:g} for clip "
            f"{worst}"
        )
    if is_cosine(score):
        embeddings = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    totals = np.bincount(owners, weights, minlength=len(names))
    if not (totals > 0).all():
        raise ValueError(
            f"weights: expected some above 0 for each person, got none for "
            f"{str(names[int((totals <= 0).argmax())])!r}"
        )
    people = np.zeros((len(names), embeddings.shape[1]))
    np.add.at(people, owners, (weights / totals[owners])[:, None] * embeddings)
    # Opposite directions leave what rounding does, not zero.
    cancelled = np.linalg.norm(people, axis=1) <= 1e-9 * np.linalg.norm(embeddings, axis=1).max()
    if cancelled.any():
        raise CancelledError(
            f"the clips of {str(names[int(cancelled.argmax())])!r} point in opposite directions "
            "and cancel each other; leave one out, or give them other weights"
        )
    return people
