"""Clusters of a memory that holds one vector of every video."""

import torch
from torch.nn.functional import one_hot

VALUES_AT_ONCE = 2**25
"""Of the distances that are in memory at a time."""


@torch.no_grad()
def lloyd(points, num_clusters, num_rounds=20):
    """Returns labels and centres of K-means by Lloyd's algorithm from evenly spaced points.

    An empty cluster keeps its centre. Everything is summed in a fixed order, so that every device
    and every process finds the same clusters each time, which scikit-learn's threads do not.

    Arguments
    ---------
    points : torch.Tensor, shape (N, K)
        At least one.
    num_clusters : int
        May be larger than N; then some stay empty.
    num_rounds : int
        At most so many rounds.

    Returns
    -------
    labels : torch.Tensor of int64, shape (N,)
        The nearest centre of every point.
    centres : torch.Tensor, shape (num_clusters, K)

    Example
    -------
    >>> labels, centres = lloyd(torch.tensor([[0.0], [1.0], [9.0], [8.0]]), 2)
    >>> labels.tolist(), centres.flatten().tolist()
    ([0, 0, 1, 1], [0.5, 8.5])
    """
    rows = torch.arange(num_clusters, device=points.device) * len(points) // num_clusters
    centres = points[rows]
    for _ in range(num_rounds):
        labels = _nearest(points, centres)
        sums, counts = sums_of(points, labels, num_clusters)
        counts = counts.unsqueeze(1)
        before, centres = centres, torch.where(counts > 0, sums / counts.clamp_min(1), centres)
        if torch.equal(before, centres):
            break
    return _nearest(points, centres), centres


@torch.no_grad()
def concentrations(points, labels, centres, mean=0.2):
    """Returns phi, the concentration of every cluster: small where its points are near each other.

    ``phi_k = mean_{x in k} ||x - c_k|| / log(n_k + 10)``; a cluster of one point gets the largest
    of the others. They are clipped to their 10th and 90th percentile and scaled to a mean. As CMPC
    has it (Zhu et al., 2022) from Li et al., "Prototypical Contrastive Learning", 2021.

    Departures: phi is at least a twentieth of the mean, and empty clusters, which are compared with
    nothing, have the mean and do not count in it. Where no cluster has two points apart all phi are
    the mean.

    Arguments
    ---------
    points : torch.Tensor, shape (N, K)
    labels : torch.Tensor of int64, shape (N,)
    centres : torch.Tensor, shape (C, K)
    mean : float

    Returns
    -------
    torch.Tensor, shape (C,)

    Example
    -------
    >>> points = torch.tensor([[0.0], [2.0], [5.0], [9.0]])
    >>> concentrations(points, torch.tensor([0, 0, 1, 1]), torch.tensor([[1.0], [7.0]]))
    tensor([0.1467, 0.2533])
    """
    distances = (points - centres[labels]).norm(dim=1, keepdim=True)
    sums, counts = sums_of(distances, labels, len(centres))
    phi = sums.squeeze(1) / counts.clamp_min(1) / (counts + 10).log()
    occupied = counts > 0
    phi = torch.where(counts == 1, phi.where(counts > 1, 0).max(), phi)
    low, high = phi[occupied].quantile(phi.new_tensor([0.1, 0.9]))
    phi = phi.clamp(low, high)
    scale = phi[occupied].mean()
    known = occupied & (scale > 0)
    return (mean * phi / scale).clamp_min(mean / 20).where(known, mean)


def sums_of(values, labels, num_clusters):
    """Returns the sums, shape (C, K), and the numbers, shape (C,), of the rows of every cluster."""
    sums = values.new_zeros(num_clusters, values.shape[1])
    counts = values.new_zeros(num_clusters)
    step = max(1, VALUES_AT_ONCE // num_clusters)
    for part, own in zip(values.split(step), labels.split(step), strict=True):
        members = one_hot(own, num_clusters).to(values)  # a product sums in a fixed order
        sums += members.T @ part
        counts += members.sum(dim=0)
    return sums, counts


def _nearest(points, centres):
    step = max(1, VALUES_AT_ONCE // len(centres))
    return torch.cat([torch.cdist(part, centres).argmin(dim=1) for part in points.split(step)])
