"""A probe and its candidates, compared by the score of a model."""

from speechbrain_fv.scores import CandidateScore

_DIRECTIONS = {
    **dict.fromkeys((("face", None), (None, "voice"), ("face", "voice")), "F-V"),
    **dict.fromkeys((("voice", None), (None, "face"), ("voice", "face")), "V-F"),
}


def match_direction(kinds, direction, score):
    """Returns the direction of a matching.

    Arguments
    ---------
    kinds : tuple of two
        "face" or "voice" for the probe and for the candidates; None for embeddings.
    direction : str or None
        What the caller says: "F-V" if the probe is a face, "V-F" if it is a voice.
    score : Score

    Raises
    ------
    ValueError
        If both contradict each other, or the score needs the direction and neither tells it.

    Example
    -------
    >>> from speechbrain_fv.scores import Cosine
    >>> match_direction(("voice", None), None, Cosine())
    'V-F'
    """
    found = _DIRECTIONS.get(kinds)
    expected = (found,) if found else ("F-V", "V-F")
    if direction is not None and direction not in expected:
        raise ValueError(f"direction: expected {' or '.join(expected)}, got {direction!r}")
    if direction is None and found is None and not score.takes_both_alike:
        raise ValueError(
            f"direction: expected F-V or V-F beside embeddings, as {score.name} does not take "
            "faces and voices alike, got None"
        )
    return direction or found or "F-V"


def candidate_scores(score, probes, candidates, direction):
    """Returns the scores (num_probes, num_candidates) of embeddings, float64.

    Arguments
    ---------
    score : Score
        A frozen one.
    probes : torch.Tensor of shape (num_probes, dim)
    candidates : torch.Tensor of shape (num_candidates, dim)
    direction : str
        "F-V" or "V-F".
    """
    if isinstance(score, CandidateScore):
        return score.rank(probes, candidates[None].expand(len(probes), -1, -1), direction)
    if direction == "F-V":
        return score.table(probes, candidates)
    return score.table(candidates, probes).T
