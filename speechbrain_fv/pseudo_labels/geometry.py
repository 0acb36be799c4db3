"""The points of a batch: their scale (Bi-Pcm, Eq. 3), their order, their prototype (Eq. 4)."""

import torch

# Iterations between two looks at whether to stop: on a GPU each look waits for the device.
CHECK_EVERY = 4


def scale_columns(points):
    """Returns the points with every column scaled to [-1, 1] by its own min and max (Eq. 3).

    Arguments
    ---------
    points : torch.Tensor, shape (..., B, K)
        B points of K columns.

    Returns
    -------
    scaled : torch.Tensor, shape (..., B, K)
        Values in [-1, 1]. A constant column becomes 0, the middle of the range.

    Example
    -------
    >>> scale_columns(torch.tensor([[0.0, 7.0], [5.0, 7.0], [10.0, 7.0]]))
    tensor([[-1.,  0.],
            [ 0.,  0.],
            [ 1.,  0.]])
    """
    low = points.amin(dim=-2, keepdim=True)
    span = points.amax(dim=-2, keepdim=True) - low
    constant = span == 0
    scaled = 2 * ((points - low) / torch.where(constant, 1.0, span)) - 1
    return torch.where(constant, 0.0, scaled)


def canonical_order(points):
    """Returns an order of the points that their values decide, and not where they stand.

    They are sorted along one direction, of components cos(0), cos(1), ..., which no rational
    numbers combine to 0: two points at the same place along it are equal, and may change places.

    Arguments
    ---------
    points : torch.Tensor, shape (P, B, K)
        P sets of B points.

    Returns
    -------
    order : torch.Tensor of int64, shape (P, B)
        Positions of the points, first to last.

    Example
    -------
    >>> canonical_order(torch.tensor([[[3.0, 0.0], [0.0, 0.0], [0.0, 1.0]]]))
    tensor([[1, 2, 0]])
    """
    return _places(points).argsort(dim=1, stable=True)


def canonical_pair_order(points):
    """Returns one order of the pairs for both modalities, which their values decide.

    Both points of a pair are placed along the direction of `canonical_order`. Pairs are sorted by
    the lower of the two places, then by the higher, then by the first modality's place. So the
    order is the same when the two modalities change roles, unless a batch holds a pair (a, b) and
    its mirror image (b, a): the first modality decides between those two.

    Arguments
    ---------
    points : torch.Tensor, shape (2, B, K)
        B pairs of points, row by row.

    Returns
    -------
    order : torch.Tensor of int64, shape (2, B)
        Positions of the pairs, first to last, the same in both rows.

    Example
    -------
    >>> canonical_pair_order(torch.tensor([[[3.0], [0.0], [2.0]], [[1.0], [4.0], [1.0]]]))
    tensor([[1, 2, 0],
            [1, 2, 0]])
    """
    places = _places(points)
    order = torch.arange(points.shape[1], device=points.device)
    for key in (places[0], places.amax(dim=0), places.amin(dim=0)):  # the weightiest key last
        order = order[key[order].argsort(stable=True)]
    return order.expand(2, -1)


def _places(points):
    """Returns where each point lies along the canonical direction, float64, shape (P, B)."""
    columns = torch.arange(points.shape[2], dtype=torch.float64, device=points.device)
    return (points.double() * columns.cos()).sum(dim=2)


def geometric_median(points, tolerance=1e-6, max_iterations=200):
    """Returns the point with the least sum of (unsquared) distances to all points (Eq. 4).

    Weiszfeld's iteration in the form of Vardi and Zhang (PNAS 97, 2000), which stays defined, and
    still converges, when an iterate meets one of the points.

    Arguments
    ---------
    points : torch.Tensor, shape (P, B, K)
        P sets of B points.
    tolerance : float
        The iteration ends when no median moves farther than this share of the largest coordinate
        of the points, seen from their mean.
    max_iterations : int
        Upper bound on the iterations.

    Returns
    -------
    median : torch.Tensor, shape (P, K)

    Example
    -------
    >>> geometric_median(torch.tensor([[[0.0], [1.0], [50.0]]])).round(decimals=3)
    tensor([[1.]])
    """
    mean = points.mean(dim=1, keepdim=True)  # (P, 1, K)
    points = points - mean
    tiny = torch.finfo(points.dtype).tiny
    scale = points.abs().amax(dim=(1, 2)).clamp_min(tiny)  # (P,)
    points = points / scale.view(-1, 1, 1)
    median = torch.zeros_like(mean)
    for iteration in range(1, max_iterations + 1):
        offsets = points - median
        distances = torch.linalg.vector_norm(offsets, dim=2).unsqueeze(1)  # (P, 1, B)
        met = distances < 1e-9
        inverse = torch.where(met, 0.0, distances.reciprocal())
        pull = torch.bmm(inverse, offsets)  # (P, 1, K), the sum of unit vectors to the others
        strength = torch.linalg.vector_norm(pull, dim=2, keepdim=True).clamp_min(tiny)
        # A point that is met holds the median back with the strength of one unit vector.
        free = (1 - met.sum(dim=2, keepdim=True) / strength).clamp_min(0)
        step = free * pull / inverse.sum(dim=2, keepdim=True).clamp_min(tiny)
        median = median + step
        if iteration % CHECK_EVERY == 0 and step.abs().max() <= tolerance:
            break
    return (median * scale.view(-1, 1, 1) + mean).squeeze(1)
