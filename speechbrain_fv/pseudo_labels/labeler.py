"""The module that labels a batch, and what it remembers between batches (Bi-Pcm, Eq. 7)."""

import contextlib

import torch

from speechbrain_fv.pseudo_labels.clustering import kmeans, rank_clusters
from speechbrain_fv.pseudo_labels.geometry import canonical_order, geometric_median, scale_columns


@contextlib.contextmanager
def full_float32(device_type):
    """Products of float32 are float32 inside: no autocast, no TensorFloat-32.

    SpeechBrain switches TensorFloat-32 on for every product on a GPU, and its 10 bits misplace
    points between two clusters.

    Arguments
    ---------
    device_type : str
        ``cpu`` or ``cuda``.

    Example
    -------
    >>> with torch.autocast("cpu", torch.bfloat16), full_float32("cpu"):
    ...     (torch.eye(2) @ torch.eye(2)).dtype
    torch.float32
    """
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)


class PseudoLabeler(torch.nn.Module):
    """Gives every face and every voice of a batch its pseudo-labels, one for each q.

    Columns are scaled (Eq. 3), each modality's prototype is the geometric median (Eq. 4), averaged
    with those of earlier batches (Eq. 7), and K-means clusters are ranked by their distance to it
    (Fig. 2). Labels do not depend on the order of the batch: the points are put into an order of
    their own first.

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
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum: expected a weight in [0, 1], got {momentum}")
        self.num_clusters = tuple(num_clusters)
        self.momentum = momentum
        # Mean of the prototypes eta(1..n-1), face before voice, and n - 1.
        self.register_buffer("past_prototypes", torch.zeros(2, embedding_dim))
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.int64))

    def update_prototypes(self, current):
        """Returns eta(n) of Eq. 7 and, in training, counts it among the past ones.

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
            If a q is larger than the batch.
        """
        with full_float32(face.device.type):
            points = scale_columns(torch.stack([face.float(), voice.float()]))  # (2, B, K)
            order = canonical_order(points)  # (2, B)
            points = points.gather(1, order.unsqueeze(2).expand_as(points))
            prototypes = self.update_prototypes(geometric_median(points))
            labels, centres = kmeans(points, self.num_clusters, generator)
            ranked = torch.stack(
                [
                    rank_clusters(*clustering, prototypes)
                    for clustering in zip(labels, centres, strict=True)
                ]
            )  # (number of q, 2, B)
        return torch.empty_like(ranked).scatter_(2, order.expand_as(ranked), ranked)
