"""Closed forms: 1:N matching without drawing, and what chance scores."""

import torch


def win_probabilities(below, tied, num_negatives, max_candidates):
    """Returns the probability that a positive wins 1:N against negatives drawn without replacement.

    With ``r`` of ``n`` negatives below and none tied this is C(r, N-1) / C(n, N-1). A positive that
    ties with k of the drawn negatives wins with probability 1 / (k + 1). The recurrence

        w_1 = q_1 = 1
        q_N = q_{N-1} (r - N + 2) / (n - N + 2)                        all drawn are below
        w_N = ((N - 1) w_{N-1} (r + t - N + 2) / (n - N + 2) + q_N) / N

    has no negative term and no large factor. It is the sum over k of the hypergeometric
    probabilities of k ties, each divided by k + 1 (by C(t, k) / (k + 1) = C(t+1, k+1) / (t + 1)).

    Arguments
    ---------
    below, tied, num_negatives : torch.Tensor of any one broadcastable shape
        Counts r, t, n with r + t <= n.
    max_candidates : int
        Largest N, >= 2.

    Returns
    -------
    torch.Tensor of shape (max_candidates - 1, *shape), float64, in [0, 1]
        NaN where n < N - 1.

    Example
    -------
    >>> r, t, n = torch.tensor([[2], [1], [3]])
    >>> win_probabilities(r, t, n, max_candidates=3).squeeze()
    tensor([0.8333, 0.6667], dtype=torch.float64)
    """
    below, tied, num_negatives = below.double(), tied.double(), num_negatives.double()
    wins = all_below = torch.ones_like(below + num_negatives)
    result = []
    for candidates in range(2, max_candidates + 1):
        left = num_negatives - candidates + 2
        left = torch.where(left > 0, left, torch.nan)
        all_below = all_below * (below - candidates + 2).clamp(min=0) / left
        wins = wins * (candidates - 1) * (below + tied - candidates + 2).clamp(min=0) / left
        wins = (wins + all_below) / candidates
        result.append(wins)
    return torch.stack(result)


def chance_average_precision(num_positives, gallery_size):
    """Returns the expected average precision of a random ranking.

    E[AP] = (H_n + (R - 1) / (n - 1) (n - H_n)) / n, R positives among n, H_n the harmonic number.

    Arguments
    ---------
    num_positives : torch.Tensor of any shape, in [1, gallery_size]
    gallery_size : int, >= 1

    Returns
    -------
    torch.Tensor of the same shape, float64, in (0, 1]

    Example
    -------
    >>> chance_average_precision(torch.tensor([1, 2]), gallery_size=2)
    tensor([0.7500, 1.0000], dtype=torch.float64)
    """
    ranks = torch.arange(1, gallery_size + 1, dtype=torch.float64, device=num_positives.device)
    harmonic = (1 / ranks).sum()
    others = (num_positives.double() - 1) / max(gallery_size - 1, 1)
    return (harmonic + others * (gallery_size - harmonic)) / gallery_size
