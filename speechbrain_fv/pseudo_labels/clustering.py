"""K-means of several sets of points, each into several numbers of clusters, all at once."""

import math

import torch

from speechbrain_fv.pseudo_labels.geometry import CHECK_EVERY

# Two points this near, as a share of the largest squared distance from the mean, are one point to
# squared distances in float32.
SAME_POINT = 1e-6


def _pairwise_distances(points):
    """Squared Euclidean distances of all pairs, shape (P, B, K) -> (P, B, B), never below 0."""
    points = points - points.mean(dim=1, keepdim=True)  # loses the least to cancellation
    products = torch.bmm(points, points.transpose(1, 2))
    norms = products.diagonal(dim1=1, dim2=2).clone()
    return products.mul_(-2).add_(norms.unsqueeze(1)).add_(norms.unsqueeze(2)).clamp_min_(0)


def seed_centres(points, num_centres, generator, same_rows=False):
    """Returns centres drawn from the points by greedy k-means++ (Arthur and Vassilvitskii, 2007).

    The first centre is any point. For each further one ``2 + log(num_centres)`` points are drawn
    with probabilities proportional to their squared distances to the nearest centre so far, and the
    one that leaves the least sum of these distances becomes a centre, as in scikit-learn.

    With `same_rows` it is rows that are drawn: the distance between two rows is the sum over the
    sets of the squared distances between their points, as if a row were one long point. Row b of
    every set is then a seed, or of none.

    Arguments
    ---------
    points : torch.Tensor, shape (P, B, K)
        P sets of B points.
    num_centres : int
        Centres to draw per set, at most B.
    generator : torch.Generator
        Source of the draws, on the CPU: every device draws the same.
    same_rows : bool
        Whether the same rows seed every set; else every set has draws of its own.

    Returns
    -------
    centres : torch.Tensor, shape (P, num_centres, K)
        The first c of them are a seeding of c clusters, for every c.
    """
    table = _pairwise_distances(points)
    if same_rows:
        table = table.sum(dim=0, keepdim=True)
    num_sets, num_points, _ = table.shape
    trials = min(num_points, 2 + int(math.log(num_centres)))
    # The least of exponential waits divided by weights falls on a point with a probability
    # proportional to its weight, the least few are such draws without repetition. Unlike a search
    # in cumulated weights, rounding all but never changes the winner.
    waits = torch.rand(num_centres, num_sets, num_points, generator=generator).log_().neg_()
    waits = waits.to(points)
    table = table.flatten(0, 1)  # (P B, B)
    first_rows = torch.arange(num_sets, device=points.device).unsqueeze(1) * num_points  # (P, 1)
    first_trials = torch.arange(num_sets, device=points.device) * trials  # (P,)

    chosen = [waits[0].argmin(dim=1) + first_rows.squeeze(1)]
    nearest = table.index_select(0, chosen[0])  # (P, B)
    for wait in waits[1:]:
        candidates = (wait / nearest).topk(trials, dim=1, largest=False).indices  # as drawn
        candidates = candidates.add_(first_rows).flatten()
        distances = table.index_select(0, candidates).view(num_sets, trials, num_points)
        distances = torch.minimum(distances, nearest.unsqueeze(1))
        sums = distances.sum(dim=2)
        # Two candidates whose nearest point is the other one leave equal sums. Not rounding but
        # the draw decides between them.
        least = sums <= sums.amin(dim=1, keepdim=True) * (1 + SAME_POINT * 10)
        best = least.byte().argmax(dim=1).add_(first_trials)  # (P,)
        nearest = distances.flatten(0, 1).index_select(0, best)
        chosen.append(candidates.index_select(0, best))
    rows = torch.stack(chosen, dim=1)  # (P, num_centres), of the table; one set with same_rows
    return points[:, rows[0]] if same_rows else points.flatten(0, 1)[rows]


def _assign(points, centres, occupied, sizes):
    """Returns the column of every point's nearest centre, shape (P, n, B).

    The n clusterings of a set of points have their centres side by side, `sizes` of them each.
    """
    norms = centres.square().sum(dim=2).masked_fill_(~occupied, torch.inf)  # (P, C)
    scores = torch.bmm(-2 * centres, points.transpose(1, 2)).add_(norms.unsqueeze(2))  # (P, C, B)
    columns, first = [], 0
    for block, size in zip(scores.split(sizes, dim=1), sizes, strict=True):
        columns.append(block.min(dim=1).indices.add_(first))
        first += size
    return torch.stack(columns, dim=1)


def _means(points, columns, num_columns):
    """Returns sums, shape (P, C, K), and numbers, shape (P, C), of the points of every column."""
    members = points.new_zeros(len(points), num_columns, points.shape[1])
    members.scatter_(1, columns, 1.0)  # a product with it sums in a fixed order on every device
    return torch.bmm(members, points), members.sum(dim=2)


def _reseed(points, columns, old_centres, centres, occupied, sizes):
    """Puts the j-th empty cluster on the j-th farthest point from the centre it was assigned to.

    Points that lie on their centres, as all do where there are fewer distinct points than clusters,
    are not taken: the cluster stays empty. Changes `centres` and `occupied`.
    """
    num_sets, num_points, dim = points.shape
    own = old_centres.gather(1, columns.flatten(1).unsqueeze(2).expand(-1, -1, dim))
    offsets = points.unsqueeze(1) - own.view(num_sets, -1, num_points, dim)  # (P, n, B, K)
    distances, order = offsets.square().sum(dim=3).sort(dim=2, descending=True, stable=True)
    floor = SAME_POINT * points.square().sum(dim=2).amax(dim=1, keepdim=True)  # (P, 1)
    blocks = zip(centres.split(sizes, dim=1), occupied.split(sizes, dim=1), strict=True)
    for index, (block, block_occupied) in enumerate(blocks):
        position = ((~block_occupied).cumsum(dim=1) - 1).clamp_min(0)  # (P, q)
        take = ~block_occupied & (distances[:, index].gather(1, position) > floor)
        rows = order[:, index].gather(1, position).unsqueeze(2).expand(-1, -1, dim)
        block.copy_(torch.where(take.unsqueeze(2), points.gather(1, rows), block))
        block_occupied |= take


def check_num_clusters(num_clusters, num_points):
    """Raises ValueError if a q is below 1 or above the number of points."""
    for q in num_clusters:
        if not 1 <= q <= num_points:
            raise ValueError(
                f"num_clusters: expected between 1 and the batch's {num_points} points, got "
                f"{q}; lower num_clusters or raise batch_size"
            )


def kmeans(points, num_clusters, generator, max_iterations=300, same_rows=False):
    """Returns labels and centres of K-means, iterated until no assignment changes.

    Every set of points is clustered once for every q, all side by side. A cluster found empty is
    re-seeded with the point farthest from its centre (the next farthest for the next one).

    Arguments
    ---------
    points : torch.Tensor, shape (P, B, K)
        P sets of B points.
    num_clusters : sequence of int
        The set of q, n of them, in [1, B].
    generator : torch.Generator
        Source of the k-means++ seeding, on the CPU.
    max_iterations : int
        Upper bound on the iterations.
    same_rows : bool
        Whether the same rows seed every set, so that clusters of one index belong together.

    Returns
    -------
    labels : torch.Tensor of int64, shape (n, P, B)
        For every q and set the cluster of every point, in [0, q).
    centres : list of torch.Tensor, shape (P, q, K)
        For every q the mean of every cluster; NaN for a cluster that stays empty because there are
        fewer distinct points than q.

    Raises
    ------
    ValueError
        If a set has fewer points than q, or q is below 1.

    Example
    -------
    >>> points = torch.tensor([[[0.0], [0.1], [9.0], [9.1]]])
    >>> labels, (centres,) = kmeans(points, [2], torch.Generator().manual_seed(0))
    >>> sorted(round(centre, 2) for centre in centres.flatten().tolist())
    [0.05, 9.05]
    """
    sizes = list(num_clusters)
    check_num_clusters(sizes, points.shape[1])
    origin = points.mean(dim=1, keepdim=True)  # from here squared distances lose the least
    seeds = seed_centres(points, max(sizes), generator, same_rows) - origin
    points = points - origin
    centres = torch.cat([seeds[:, :q] for q in sizes], dim=1)  # (P, C, K)
    occupied = centres.new_ones(centres.shape[:2], dtype=torch.bool)
    columns = centres.new_zeros(0, dtype=torch.int64)
    look_every = 1 if points.device.type == "cpu" else CHECK_EVERY
    for iteration in range(1, max_iterations + 1):
        before, columns = columns, _assign(points, centres, occupied, sizes)
        sums, counts = _means(points, columns, occupied.shape[1])
        old_centres, centres = centres, sums / counts.clamp_min(1).unsqueeze(2)
        occupied = counts > 0
        # Between two looks a converged iteration changes nothing, an empty cluster stays empty.
        if iteration % look_every == 0:
            num_occupied = int(occupied.sum())
            if num_occupied < occupied.numel():
                _reseed(points, columns, old_centres, centres, occupied, sizes)
            if torch.equal(columns, before) and int(occupied.sum()) == num_occupied:
                break
    centres = (sums / counts.unsqueeze(2) + origin).split(sizes, dim=1)
    firsts = [sum(sizes[:index]) for index in range(len(sizes))]
    labels = [own - first for own, first in zip(columns.unbind(dim=1), firsts, strict=True)]
    return torch.stack(labels), list(centres)


def rank_clusters(labels, centres, prototype, together=False):
    """Returns the labels renumbered by how near each cluster's centre is to the prototype (Fig. 2).

    Ranked together, clusters of one index get one rank: that of the mean of their distances, each
    to the prototype of its own set. A set in which the cluster has no point is left out of the
    mean.

    Arguments
    ---------
    labels : torch.Tensor of int64, shape (P, B)
        Cluster indices.
    centres : torch.Tensor, shape (P, q, K)
        Cluster centres.
    prototype : torch.Tensor, shape (P, K)
        eta of every set of points.
    together : bool
        Whether the P clusters of one index share a rank; else every set has ranks of its own.

    Returns
    -------
    ranked : torch.Tensor of int64, shape (P, B)
        0 for the nearest cluster, and so on. Ties break by cluster index; clusters without a point
        come last.

    Example
    -------
    >>> labels, centres = torch.tensor([[0, 1, 1]]), torch.tensor([[[5.0], [1.0]]])
    >>> rank_clusters(labels, centres, torch.zeros(1, 1))
    tensor([[1, 0, 0]])
    """
    distances = torch.linalg.vector_norm(centres - prototype.unsqueeze(1), dim=2)  # (P, q)
    empty = torch.ones_like(distances, dtype=torch.bool).scatter_(1, labels, False)
    if together:
        sums = distances.masked_fill(empty, 0).sum(dim=0, keepdim=True)
        distances = sums / (~empty).sum(dim=0, keepdim=True)  # (1, q)
        empty = empty.all(dim=0, keepdim=True)
    order = distances.masked_fill(empty, torch.inf).argsort(dim=1, stable=True)
    return order.argsort(dim=1).expand(len(labels), -1).gather(1, labels)
