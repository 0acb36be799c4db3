"""Cross-modal prototype contrast (CMPC)."""

import torch
from torch.nn.functional import cross_entropy, normalize

from speechbrain_fv.losses.base import Batch, Loss, Needs
from speechbrain_fv.losses.memory import concentrations, lloyd
from speechbrain_fv.losses.mining import others

NUM_VIDEOS = 18057
"""Of the authors' training set, of which they make 500, 1,000 and 1,500 clusters."""


class CMPCLoss(Loss):
    """L_instance and L_prototype: a clip finds its pair, and the prototype of its pair's cluster.

    Zhu et al., "Unsupervised Voice-Face Representation Learning by Cross-Modal Prototype Contrast",
    IJCAI 2022, as its authors' code has it, less its faults. With z = x / ||x||, over the videos j
    of the batch, of a voice::

        L_ii = -log [ exp(<z_v_i, z_f_i> / tau) / sum_j exp(<z_v_i, z_f_j> / tau) ],   tau = 0.03
        L_ip = -log [ exp(<z_v_i, c_i> / phi_i) / sum_j exp(<z_v_i, c_j> / phi_j) ]

    and likewise of a face, added. c_j is the unit prototype of the cluster of video j's face, of a
    clustering of all faces; L_ip is the mean over R = 3 clusterings. The concentration phi is of
    the prototype's own cluster, see `losses.memory.concentrations`.

    *Memory.* One unit vector per video and modality, ``m <- u(0.5 m + 0.5 z)``; it is clustered by
    at most 20 rounds of Lloyd's algorithm, by Euclidean distance, first when the share
    `warmup_share` of the training is over (300,000 of 3.2 million samples) and then every two
    epochs. Until then L_prototype is 0.

    *Recalibration.* ``rho_i = <z_v_i, z_f_i> - sum_r <C_v,r(i), C_f,r(i)>`` with the centres of
    both clusters of video i, not normalised, tells how well the pair agrees beyond its clusters.
    Both terms are means weighted by `recalibration_weights`.

    Faults of the public code that are mended: (a) it forgets the clusters at every batch, so that
    one step of 282 has an L_ip; here they stay until the next clustering. (b) It divides the sum by
    4 inside the loop over the clusterings, so that they count 1/64, 1/16 and 1/4; here 1/R each.
    (c) It moves the positive to the front before it divides by the phi of the batch's old order, so
    that every positive is divided by the phi of the first sample; here each logit is divided first,
    by its own. (d) An empty cluster becomes NaN; here it keeps its centre. (e) It selects by the
    training loss; here by the monitor of the YAML.

    Departures: numbers of clusters are shares of the videos; the rows that seed K-means are evenly
    spaced instead of the first, which here are all of a few people; the memory starts with the mean
    of a video's clips by the first weights; a batch holds distinct videos where there are enough,
    while the authors draw with replacement; a video that it has twice moves its memory once, by the
    mean of its clips, and its rows are no negatives of each other; distances in phi are those to
    the centres that K-means leaves, before they are scaled to length 1, which is a reading; phi is
    at least a twentieth of its mean, so that clusters of equal points divide by no 0. The paper
    averages several crops at test, here the evaluation decides.

    Arguments
    ---------
    embedding_dim : int
        K, the width of the embeddings.
    temperature : float
        tau, positive.
    cluster_shares : sequence of float
        The number of clusters of every clustering as a share of the videos, in (0, 1]; at least two
        clusters are made.
    warmup_share : float
        Share of the training steps before the first clustering, in [0, 1].
    every_epochs : int
        Epochs between clusterings, at least 1.
    momentum : float
        Share of the memory that stays, in [0, 1).
    delta, kappa : float
        Of the recalibration: the shift in standard deviations, and the share of the variance,
        positive.

    Raises
    ------
    ValueError
        If an argument is out of its range; in training, if rows are no pairs of one video.

    Example
    -------
    >>> from speechbrain_fv.losses import TrainingSet
    >>> loss = CMPCLoss(embedding_dim=4)
    >>> loss.build(TrainingSet({"video": 3}))
    >>> video = {"video": torch.tensor([0, 2])}
    >>> terms, monitors = loss(Batch(torch.randn(2, 4), torch.randn(2, 4), video, video))
    >>> list(terms), sorted(monitors)
    (['L_instance', 'L_prototype'], ['instance_accuracy', 'mean_weight'])
    """

    terms = ("L_instance", "L_prototype")
    needs = Needs(face=("video",), voice=("video",))

    def __init__(
        self,
        embedding_dim,
        temperature=0.03,
        cluster_shares=(500 / NUM_VIDEOS, 1000 / NUM_VIDEOS, 1500 / NUM_VIDEOS),
        warmup_share=0.094,
        every_epochs=2,
        momentum=0.5,
        delta=-1.0,
        kappa=0.1,
    ):
        super().__init__()
        if temperature <= 0 or kappa <= 0:
            raise ValueError(
                f"temperature and kappa: expected positive numbers, got {temperature} and {kappa}"
            )
        if not cluster_shares or not all(0 < share <= 1 for share in cluster_shares):
            raise ValueError(f"cluster_shares: expected some in (0, 1], got {cluster_shares}")
        if not 0 <= warmup_share <= 1 or not 0 <= momentum < 1 or every_epochs < 1:
            raise ValueError(
                "warmup_share, momentum and every_epochs: expected shares in [0, 1] and [0, 1) and "
                f"at least 1, got {warmup_share}, {momentum} and {every_epochs}"
            )
        self.embedding_dim, self.temperature = embedding_dim, temperature
        self.cluster_shares = tuple(cluster_shares)
        self.warmup_share, self.every_epochs = warmup_share, every_epochs
        self.momentum, self.delta, self.kappa = momentum, delta, kappa

    def build(self, training_set):
        """Makes the memories and room for their clusters, of faces and of voices each."""
        num_videos, dim = training_set.num_classes["video"], self.embedding_dim
        sizes = [max(2, round(share * num_videos)) for share in self.cluster_shares]
        self.register_buffer("memory", torch.zeros(2, num_videos, dim))
        self.register_buffer("clusters", torch.zeros(len(sizes), 2, num_videos, dtype=torch.int64))
        for r, size in enumerate(sizes):
            self.register_buffer(f"centres_{r}", torch.zeros(2, size, dim))
            self.register_buffer(f"phi_{r}", torch.ones(2, size))
        self.register_buffer("clustered_epoch", torch.zeros((), dtype=torch.int64))  # 0: never
        self.register_buffer("progress", torch.zeros((), dtype=torch.float64))

    def on_training_start(self, embed):
        """Fills the memories: of every video, the direction of the mean of its clips."""
        embeddings = embed()
        for side, modality in enumerate(("face", "voice")):
            videos = getattr(embeddings, f"{modality}_classes")["video"]
            self._remember(side, videos, getattr(embeddings, modality), momentum=0.0)

    def on_epoch_start(self, epoch, embed):
        """Clusters both memories where it is time."""
        waited = epoch - int(self.clustered_epoch)
        first = not self.clustered_epoch
        if self.progress >= self.warmup_share and (first or waited >= self.every_epochs):
            self.cluster()
            self.clustered_epoch.fill_(epoch)

    @torch.no_grad()
    def cluster(self):
        """Clusters the memories of the videos that have a clip of the modality."""
        for side, memory in enumerate(self.memory):
            met = memory.any(dim=1)
            points = memory[met]
            for r, clusters in enumerate(self.clusters[:, side]):
                centres, phi = (getattr(self, f"{name}_{r}")[side] for name in ("centres", "phi"))
                labels, found = lloyd(points, len(centres))
                clusters[met] = labels
                centres.copy_(found)
                phi.copy_(concentrations(points, labels, found))

    def forward(self, batch: Batch):
        """Returns the terms and the monitors; in training, moves the memories.

        Arguments
        ---------
        batch : Batch
            Of pairs of one video.

        Returns
        -------
        terms : dict
            ``L_instance`` and ``L_prototype``: scalars, at least 0.
        monitors : dict
            ``instance_accuracy``: scalar in [0, 1], the share of faces and voices whose own pair
            is the nearest of the batch. ``mean_weight``: scalar in (0, 1], of the recalibration.
        """
        video = batch.face_classes["video"]
        if not torch.equal(video, batch.voice_classes["video"]):
            raise ValueError(
                "CMPC: expected faces and voices of one video in every row, got others; take "
                "speechbrain_fv.data.samplers.VideoSampler"
            )
        sides = normalize(batch.face, dim=1), normalize(batch.voice, dim=1)
        outside = ~others(video).fill_diagonal_(True)
        logits = sides[0] @ sides[1].T / self.temperature
        instance = _of_own_column(logits, outside) + _of_own_column(logits.T, outside)
        own = torch.arange(len(video), device=video.device)
        hits = (logits.argmax(dim=1) == own).float() + (logits.argmax(dim=0) == own).float()
        prototype, weights = torch.zeros_like(instance), torch.ones_like(instance)
        if self.clustered_epoch:
            rows = video.clamp_min(0)
            prototype = self._prototype(sides, rows, outside)
            weights = self._weights(sides, rows)
        if self.training:
            for side, embeddings in enumerate(sides):
                self._remember(side, video, embeddings.detach(), self.momentum)
            self.progress.fill_((batch.step + 1) / batch.num_steps)
        total = weights.sum()
        terms = {
            "L_instance": (weights * instance).sum() / total,
            "L_prototype": (weights * prototype).sum() / total,
        }
        return terms, {"instance_accuracy": hits.mean() / 2, "mean_weight": weights.mean()}

    def _prototype(self, sides, rows, outside):
        """L_ip of every row, shape (B,), both directions added."""
        total = 0
        for r, clusters in enumerate(self.clusters):
            for anchor, other in ((0, 1), (1, 0)):
                chosen = clusters[other, rows]
                prototypes = normalize(getattr(self, f"centres_{r}")[other, chosen], dim=1)
                logits = sides[anchor] @ prototypes.T / getattr(self, f"phi_{r}")[other, chosen]
                total = total + _of_own_column(logits, outside)
        return total / len(self.clusters)

    @torch.no_grad()
    def _weights(self, sides, rows):
        """The weights of the rows, shape (B,)."""
        rho = (sides[0] * sides[1]).sum(dim=1)
        for r, clusters in enumerate(self.clusters):
            face, voice = (getattr(self, f"centres_{r}")[s, clusters[s, rows]] for s in (0, 1))
            rho = rho - (face * voice).sum(dim=1)
        return recalibration_weights(rho, self.delta, self.kappa)

    @torch.no_grad()
    def _remember(self, side, videos, embeddings, momentum):
        """Moves the memory of the videos met, each once, by the mean of its unit clips."""
        met, place = videos[videos >= 0].unique(return_inverse=True)
        sums = self.memory.new_zeros(len(met), self.embedding_dim)
        sums.index_add_(0, place, normalize(embeddings[videos >= 0], dim=1))
        moved = momentum * self.memory[side, met] + (1 - momentum) * normalize(sums, dim=1)
        self.memory[side, met] = normalize(moved, dim=1)


def _of_own_column(logits, outside):
    """The cross-entropy of every row with its own column, less the columns outside."""
    target = torch.arange(len(logits), device=logits.device)
    return cross_entropy(logits.masked_fill(outside, -torch.inf), target, reduction="none")


def recalibration_weights(rho, delta=-1.0, kappa=0.1):
    """Returns the weight of every row, in (0, 1], the largest 1.

    The cumulative normal distribution at rho, of mean ``mean(rho) + delta std(rho)`` and variance
    ``kappa var(rho)``, divided by its largest value. That the distribution is meant, and not the
    running sum of the density over the sorted rho, is a reading. Equal rho have weight 1.

    Arguments
    ---------
    rho : torch.Tensor, shape (B,)
    delta, kappa : float

    Example
    -------
    >>> recalibration_weights(torch.tensor([-1.0, 1.0]))  # mean 0, deviation 1
    tensor([0.5000, 1.0000])
    """
    deviation = rho.std(unbiased=False)
    shifted = (rho - rho.mean() - delta * deviation) / (kappa**0.5 * deviation)
    weights = torch.special.ndtr(shifted)
    return torch.where(deviation > 1e-6, weights / weights.max(), torch.ones_like(rho))
