"""The module that labels a batch, and what it remembers between batches (Bi-Pcm, Eq. 7)."""

import torch

from speechbrain_fv.precision import full_float32
from speechbrain_fv.pseudo_labels.clustering import check_num_clusters, kmeans, rank_clusters
from speechbrain_fv.pseudo_labels.geometry import (
    canonical_order,
    canonical_pair_order,
    geometric_median,
    scale_columns,
)

CLUSTERS = ("shared", "paired", "separate")


class PseudoLabeler(torch.nn.Module):
    """Gives every face and every voice of a batch its pseudo-labels, one for each q.

    Columns are scaled (Eq. 3), a prototype is the geometric median (Eq. 4), averaged with those of
    earlier batches (Eq. 7), and K-means clusters are ranked by their distance to it (Fig. 2).
    Labels do not depend on the order of the batch: the points are put into an order of their own
    first.

    The paper does not say how the clusters of the two modalities belong together. Three readings:

    - ``shared``: each modality is scaled on its own, then one K-means, one prototype and one
      ranking serve all 2B points. A label names one region of the common space. Equal points have
      equal labels.
    - ``paired``: each modality has its own K-means and prototype, but the same pairs seed both
      (k-means++ on pairs, whose squared distance is the sum of the faces' and the voices'), and
      clusters grown from one pair are ranked together, by the mean of their two distances to the
      two prototypes. A label names the surroundings of one pair.
    - ``separate``: each modality draws its own seeds and ranks on its own. A label says only how
      far from its own prototype a cluster lies, as one of q. Two identical sets of points get
      different partitions, and so different labels for most pairs.

    Under ``shared`` and ``paired`` identical views have identical labels, and exchanging faces and
    voices exchanges their labels. For ``paired`` the latter does not hold where the batch has a
    pair and its mirror image (see `canonical_pair_order`), or where rounding decides between two
    centres.

    Arguments
    ---------
    num_clusters : sequence of int
        The set of q, for example (8, 32, 64) for FST.
    embedding_dim : int
        K, the width of the embeddings.
    momentum : float
        lambda of Eq. 7, the weight of the current batch, in [0, 1].
    clusters : str
        ``shared``, ``paired`` or ``separate``.

    Raises
    ------
    ValueError
        If a q is below 2, the momentum is not in [0, 1], or `clusters` is none of the three.

    Example
    -------
    >>> labeler = PseudoLabeler((2, 3), embedding_dim=4)
    >>> labels = labeler(torch.randn(6, 4), torch.randn(6, 4), torch.Generator().manual_seed(0))
    >>> labels.shape
    torch.Size([2, 2, 6])
    >>> labeler, points = PseudoLabeler((3,), 4, clusters="paired"), torch.randn(6, 4)
    >>> face_labels, voice_labels = labeler(points, points, torch.Generator().manual_seed(0))[0]
    >>> bool((face_labels == voice_labels).all())
    True
    """

    def __init__(self, num_clusters, embedding_dim, momentum=0.9, clusters="separate"):
        super().__init__()
        if not num_clusters or any(q < 2 for q in num_clusters):
            raise ValueError(f"num_clusters: expected numbers from 2 on, got {list(num_clusters)}")
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum: expected a weight in [0, 1], got {momentum}")
        if clusters not in CLUSTERS:
            raise ValueError(f"clusters: expected one of {', '.join(CLUSTERS)}, got {clusters!r}")
        self.num_clusters = tuple(num_clusters)
        self.momentum = momentum
        self.clusters = clusters
        # Mean of the prototypes eta(1..n-1), face before voice or one for both, and n - 1.
        num_prototypes = 1 if clusters == "shared" else 2
        self.register_buffer("past_prototypes", torch.zeros(num_prototypes, embedding_dim))
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.int64))

    def update_prototypes(self, current):
        """Returns eta(n) of Eq. 7 and, in training, counts it among the past ones.

        Arguments
        ---------
        current : torch.Tensor, shape (2, K), or (1, K) with shared clusters
            Geometric medians of this batch, face before voice.

        Returns
        -------
        prototypes : torch.Tensor, shape (2, K) or (1, K)
            ``lambda eta(n) + (1 - lambda) mean(eta(1..n-1))``; the first batch's own for n = 1.
        """
        momentum = torch.where(self.num_batches > 0, self.momentum, 1.0)
        prototypes = momentum * current + (1 - momentum) * self.past_prototypes
        if self.training:
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
            If a q is larger than the batch: also with shared clusters, where identical views have
            no more than B distinct points.
        """
        check_num_clusters(self.num_clusters, len(face))
        paired = self.clusters == "paired"
        with full_float32(face.device.type):
            points = scale_columns(torch.stack([face.float(), voice.float()]))  # (2, B, K)
            if self.clusters == "shared":
                points = points.flatten(0, 1).unsqueeze(0)  # (1, 2B, K)
            order = canonical_pair_order(points) if paired else canonical_order(points)
            points = points.gather(1, order.unsqueeze(2).expand_as(points))
            prototypes = self.update_prototypes(geometric_median(points))
            labels, centres = kmeans(points, self.num_clusters, generator, same_rows=paired)
            if self.clusters != "separate":
                labels = equal_labels_of_equals(labels, points)
            ranked = torch.stack(
                [
                    rank_clusters(*clustering, prototypes, together=paired)
                    for clustering in zip(labels, centres, strict=True)
                ]
            )  # (number of q, 2, B) or (number of q, 1, 2B)
        labels = torch.empty_like(ranked).scatter_(2, order.expand_as(ranked), ranked)
        return labels.view(len(self.num_clusters), 2, -1)


def equal_labels_of_equals(labels, points):
    """Returns the labels with equal rows, and two equal sets of points, given the same ones.

    They have the same nearest centre, but where two centres are equally near, rounding decides, and
    products of equal rows may round differently in different places of a matrix.

    Arguments
    ---------
    labels : torch.Tensor of int64, shape (n, P, B)
        Clusters of the points, for n clusterings.
    points : torch.Tensor, shape (P, B, K)
        One set of points or two, with equal rows side by side. A row gets the labels of the first
        of its equals; the second set, if it equals the first, those of the first.

    Returns
    -------
    labels : torch.Tensor of int64, shape (n, P, B)

    Example
    -------
    >>> points = torch.tensor([[[0.0], [0.0], [1.0]]])
    >>> equal_labels_of_equals(torch.tensor([[[1, 0, 2]]]), points)
    tensor([[[1, 1, 2]]])
    """
    is_first = (points[:, 1:] != points[:, :-1]).any(dim=2).any(dim=0)  # (B - 1,)
    places = torch.arange(1, points.shape[1], device=points.device) * is_first
    firsts = torch.nn.functional.pad(places, (1, 0)).cummax(dim=0).values  # (B,)
    labels = labels.index_select(2, firsts)
    if len(points) == 2:
        same = (points[0] == points[1]).all()
        labels[:, 1] = torch.where(same, labels[:, 0], labels[:, 1])
    return labels
