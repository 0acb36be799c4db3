"""Pseudo-labels: what one batch of embeddings says about itself (Bi-Pcm, Eqs. 3, 4 and 7, Fig. 2).

Every function is pure, works on P independent problems at once and lets no gradient through;
`PseudoLabeler` adds the only state there is, the running prototype.
"""

import torch


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
    scaled = 2 * (points - low) / torch.where(constant, 1.0, span) - 1
    return torch.where(constant, 0.0, scaled)


def geometric_median(points, tolerance=1e-6, max_iterations=200):
    """Returns the point with the least sum of (unsquared) distances to all points (Eq. 4).

    Weiszfeld's iteration in the form of Vardi and Zhang (PNAS 97, 2000), which stays defined, and
    still converges, when an iterate meets one of the points.

    Arguments
    ---------
    points : torch.Tensor, shape (P, B, K)
        P problems of B points each.
    tolerance : float
        The iteration ends when no prototype moves farther than this.
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
    median = points.mean(dim=1)
    for _ in range(max_iterations):
        distances = torch.linalg.vector_norm(points - median.unsqueeze(1), dim=-1)  # (P, B)
        met = distances < 1e-9
        inverse = torch.where(met, 0.0, 1 / distances.clamp_min(1e-9))
        total = inverse.sum(dim=1, keepdim=True).clamp_min(1e-12)  # (P, 1)
        target = torch.einsum("pb,pbk->pk", inverse, points) / total
        pull = torch.linalg.vector_norm((target - median) * total, dim=1, keepdim=True)  # (P, 1)
        num_met = met.sum(dim=1, keepdim=True)
        stay = torch.where(pull > 0, num_met / pull.clamp_min(1e-12), 1.0).clamp_max(1.0)
        moved = (1 - stay) * (target - median)
        median = median + moved
        if torch.linalg.vector_norm(moved, dim=1).max() <= tolerance:
            break
    return median


def _squared_distances(points, centres):
    """Squared Euclidean distances, shapes (P, B, K) and (P, Q, K) -> (P, B, Q), never below 0."""
    cross = torch.baddbmm(
        (points.square().sum(-1, keepdim=True) + centres.square().sum(-1).unsqueeze(1)),
        points,
        centres.transpose(1, 2),
        alpha=-2,
    )
    return cross.clamp_min(0)


def seed_centres(points, num_centres, generator):
    """Returns centres drawn from the points by k-means++ (Arthur and Vassilvitskii, 2007).

    Arguments
    ---------
    points : torch.Tensor, shape (P, B, K)
        P problems of B points each.
    num_centres : int
        Centres to draw per problem, at most B.
    generator : torch.Generator
        Source of the draws, on the CPU: every device draws the same.

    Returns
    -------
    centres : torch.Tensor, shape (P, num_centres, K)
        The first c of them are a k-means++ seeding of c clusters, for every c.
    """
    num_problems, num_points, _ = points.shape
    problems = torch.arange(num_problems, device=points.device)
    draws = torch.rand(num_centres, num_problems, 1, generator=generator).to(points.device)
    nearest = torch.ones(num_problems, num_points, device=points.device)  # first draw: uniform
    centres = []
    for draw in draws:
        # Where every point already is a centre, any point may be drawn again.
        weights = torch.where(nearest.sum(1, keepdim=True) > 0, nearest, 1.0)
        cumulative = weights.cumsum(dim=1)
        # right=True never lands on a point of weight zero, at distance zero from a centre.
        chosen = torch.searchsorted(cumulative, draw * cumulative[:, -1:], right=True)
        centre = points[problems, chosen.squeeze(1).clamp_max(num_points - 1)]  # (P, K)
        distances = (points - centre.unsqueeze(1)).square().sum(-1)
        nearest = torch.minimum(nearest, distances) if centres else distances
        centres.append(centre)
    return torch.stack(centres, dim=1)


def kmeans(points, num_clusters, generator, max_iterations=300):
    """Returns labels and centres of K-means, iterated until no assignment changes.

    All problems run side by side, padded to the largest number of clusters. An empty cluster is
    re-seeded with the point farthest from its centre (the next farthest for the next one).

    Arguments
    ---------
    points : torch.Tensor, shape (P, B, K)
        P problems of B points each.
    num_clusters : sequence of int, length P
        q of every problem, in [1, B].
    generator : torch.Generator
        Source of the k-means++ seeding, on the CPU.
    max_iterations : int
        Upper bound on the iterations.

    Returns
    -------
    labels : torch.Tensor of int64, shape (P, B)
        The cluster of every point, in [0, q).
    centres : torch.Tensor, shape (P, max q, K)
        The mean of every cluster; entries from q on are padding, and so is the centre of a cluster
        that stays empty because there are fewer distinct points than q.

    Raises
    ------
    ValueError
        If a problem has more clusters than points, or none.

    Example
    -------
    >>> points = torch.tensor([[[0.0], [0.1], [9.0], [9.1]]])
    >>> labels, centres = kmeans(points, [2], torch.Generator().manual_seed(0))
    >>> sorted(round(centre, 2) for centre in centres.flatten().tolist())
    [0.05, 9.05]
    """
    num_problems, num_points, _ = points.shape
    for q in num_clusters:
        if not 1 <= q <= num_points:
            raise ValueError(
                f"num_clusters: expected between 1 and the batch's {num_points} points, got {q}; "
                "lower num_clusters or raise batch_size"
            )
    num_clusters = torch.as_tensor(num_clusters, device=points.device)
    max_clusters = int(num_clusters.max())
    active = torch.arange(max_clusters, device=points.device) < num_clusters.unsqueeze(1)  # (P, Q)
    centres = seed_centres(points, max_clusters, generator)
    labels = torch.full((num_problems, num_points), -1, device=points.device)
    for _ in range(max_iterations):
        distances = _squared_distances(points, centres)
        distances = distances.masked_fill(~active.unsqueeze(1), torch.inf)
        nearest, assigned = distances.min(dim=2)  # (P, B)
        if torch.equal(assigned, labels):
            break
        labels = assigned
        members = torch.nn.functional.one_hot(labels, max_clusters).to(points.dtype)  # (P, B, Q)
        counts = members.sum(dim=1)  # (P, Q)
        means = torch.bmm(members.transpose(1, 2), points) / counts.clamp_min(1).unsqueeze(2)
        # The j-th empty cluster of a problem takes the j-th farthest point.
        empty = active & (counts == 0)
        farthest = nearest.argsort(dim=1, descending=True, stable=True)
        position = (empty.cumsum(dim=1) - 1).clamp_min(0)
        reseeds = points.gather(
            1, farthest.gather(1, position).unsqueeze(2).expand(-1, -1, points.shape[2])
        )
        centres = torch.where(empty.unsqueeze(2), reseeds, means)
    return labels, centres


def rank_clusters(labels, centres, prototype, num_clusters):
    """Returns the labels renumbered by how near each cluster's centre is to the prototype (Fig. 2).

    Arguments
    ---------
    labels : torch.Tensor of int64, shape (P, B)
        Cluster indices.
    centres : torch.Tensor, shape (P, Q, K)
        Cluster centres, padded to Q.
    prototype : torch.Tensor, shape (P, K)
        eta of every problem.
    num_clusters : torch.Tensor of int64 or sequence of int, length P
        q of every problem.

    Returns
    -------
    ranked : torch.Tensor of int64, shape (P, B)
        0 for the nearest cluster, q - 1 for the farthest. Ties break by cluster index.

    Example
    -------
    >>> labels, centres = torch.tensor([[0, 1, 1]]), torch.tensor([[[5.0], [1.0]]])
    >>> rank_clusters(labels, centres, torch.zeros(1, 1), [2])
    tensor([[1, 0, 0]])
    """
    num_clusters = torch.as_tensor(num_clusters, device=centres.device)
    distances = torch.linalg.vector_norm(centres - prototype.unsqueeze(1), dim=-1)  # (P, Q)
    padding = torch.arange(centres.shape[1], device=centres.device) >= num_clusters.unsqueeze(1)
    order = distances.masked_fill(padding, torch.inf).argsort(dim=1, stable=True)
    return order.argsort(dim=1).gather(1, labels)


class PseudoLabeler(torch.nn.Module):
    """Gives every face and every voice of a batch its pseudo-labels, one for each q.

    Columns are scaled (Eq. 3), each modality's prototype is the geometric median (Eq. 4), averaged
    with those of earlier batches (Eq. 7), and K-means clusters are ranked by their distance to it
    (Fig. 2). Labels do not depend on the order of the batch: before seeding, the points are sorted
    by their distance to the prototype.

    Arguments
    ---------
    num_clusters : sequence of int
        The set of q, for example (8, 32, 64) for FST.
    embedding_dim : int
        K, the width of the embeddings.
    momentum : float
        lambda of Eq. 7, the weight of the current batch, in [0, 1].

    Example
    -------
    >>> labeler = PseudoLabeler((2, 3), embedding_dim=4)
    >>> labels = labeler(torch.randn(6, 4), torch.randn(6, 4), torch.Generator().manual_seed(0))
    >>> labels.shape
    torch.Size([2, 2, 6])
    """

    def __init__(self, num_clusters, embedding_dim, momentum=0.9):
        super().__init__()
        if not num_clusters or any(q < 2 for q in num_clusters):
            raise ValueError(f"num_clusters: expected numbers from 2 on, got {list(num_clusters)}")
        self.num_clusters = tuple(num_clusters)
        self.momentum = momentum
        # Mean of the prototypes eta(1..n-1), face before voice, and n - 1.
        self.register_buffer("past_prototypes", torch.zeros(2, embedding_dim))
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.int64))

    def update_prototypes(self, current):
        """Returns eta(n) of Eq. 7 and counts it among the past ones.

        Arguments
        ---------
        current : torch.Tensor, shape (2, K)
            Geometric medians of this batch, face before voice.

        Returns
        -------
        prototypes : torch.Tensor, shape (2, K)
            ``lambda eta(n) + (1 - lambda) mean(eta(1..n-1))``; the first batch's own for n = 1.
        """
        momentum = torch.where(self.num_batches > 0, self.momentum, 1.0)
        prototypes = momentum * current + (1 - momentum) * self.past_prototypes
        self.num_batches += 1
        self.past_prototypes += (prototypes - self.past_prototypes) / self.num_batches
        return prototypes

    @torch.no_grad()
    def forward(self, face, voice, generator):
        """Returns the pseudo-labels of a batch of pairs.

        Arguments
        ---------
        face, voice : torch.Tensor, shape (B, K)
            f* and v*, pair by pair; clustered in float32 whatever their type.
        generator : torch.Generator
            Source of the k-means++ seeding, on the CPU.

        Returns
        -------
        labels : torch.Tensor of int64, shape (number of q, 2, B)
            For every q the labels of the faces and of the voices, in [0, q).

        Raises
        ------
        ValueError
            If a q is larger than the batch.
        """
        with torch.autocast(face.device.type, enabled=False):
            points = scale_columns(torch.stack([face.float(), voice.float()]))  # (2, B, K)
            prototypes = self.update_prototypes(geometric_median(points))
            distances = torch.linalg.vector_norm(points - prototypes.unsqueeze(1), dim=-1)
            order = distances.argsort(dim=1)  # (2, B)
            points = points.gather(1, order.unsqueeze(2).expand_as(points))

            repeats = len(self.num_clusters)
            problem_clusters = [q for q in self.num_clusters for _ in range(2)]
            labels, centres = kmeans(points.repeat(repeats, 1, 1), problem_clusters, generator)
            ranked = rank_clusters(
                labels, centres, prototypes.repeat(repeats, 1), problem_clusters
            )  # (2 x number of q, B)
            restored = torch.empty_like(ranked).scatter_(1, order.repeat(repeats, 1), ranked)
        return restored.view(repeats, 2, -1)
