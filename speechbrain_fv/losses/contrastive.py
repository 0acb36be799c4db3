"""Losses in which a face picks its voice among those of the batch: InfoNCE and its relatives."""

import math

import torch
from torch.nn.functional import cross_entropy, normalize

from speechbrain_fv.data.schema import UNKNOWN
from speechbrain_fv.losses.base import Batch, Loss, Needs

LARGEST_SCALE = 100.0
"""Clamp of a learned 1 / tau, as in CLIP (Radford et al., 2021)."""

SAME_IDENTITY = ("leave_out", "negative", "refuse")


class InfoNCELoss(Loss):
    """L_NCE: each face picks its voice among the batch's voices, each voice its face.

    ``-log softmax_j(s(f*_i, v*_j) / tau)`` at j = i, and the same from voice to face, as means over
    the batch and added (van den Oord et al., 2018; CLIP takes half of the sum). s is the cosine.
    With the inner product for s, tau = 1 and batches of distinct identities it is the multi-class
    N-pair loss (Sohn, 2016), the loss of FV-CME (Horiguchi et al., "Face-Voice Matching using
    Cross-modal Embeddings", ACM MM 2018), with `EmbeddingNormLoss` as its regularisation. That
    FV-CME does not normalise, adds both directions and regularises is unverified.

    Arguments
    ---------
    temperature : float
        tau, positive; where it is learned, its first value.
    normalize : bool
        Whether s is the cosine, else the inner product.
    learnable : bool
        Whether tau is learned, as ``1 / tau = exp(t)``, clamped at 100 as in CLIP.
    same_identity : str
        What a pair of the same identity elsewhere in the batch is: "leave_out", neither positive
        nor negative; "negative", a false one, as where identities are not known; "refuse", an
        error. As further positives: `SupConLoss`.

    Raises
    ------
    ValueError
        If the temperature is not positive or below 1 / 100 where it is learned, or `same_identity`
        is none of the three.

    Example
    -------
    >>> loss = InfoNCELoss(temperature=1.0)
    >>> label = {"identity": torch.tensor([0, 1])}
    >>> terms, monitors = loss(Batch(torch.eye(2), torch.eye(2), voice_classes=label))
    >>> {name: round(value.item(), 4) for name, value in terms.items()}
    {'L_NCE': 0.6265}
    """

    terms = ("L_NCE",)

    def __init__(self, temperature=0.1, normalize=True, learnable=False, same_identity="leave_out"):
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature: expected a positive number, got {temperature}")
        if learnable and temperature < 1 / LARGEST_SCALE:
            raise ValueError(
                f"temperature: expected at least {1 / LARGEST_SCALE} where it is learned, got "
                f"{temperature}"
            )
        if same_identity not in SAME_IDENTITY:
            raise ValueError(
                f"same_identity: expected one of {', '.join(SAME_IDENTITY)}, got "
                f"{same_identity!r}; as further positives they are in SupConLoss"
            )
        self.temperature, self.normalize, self.same_identity = temperature, normalize, same_identity
        self.log_scale = None
        if learnable:
            self.log_scale = torch.nn.Parameter(torch.tensor(-math.log(temperature)))

    @property
    def needs(self):
        """Pairs, and their identities unless these count as negatives."""
        return Needs(voice=() if self.same_identity == "negative" else ("identity",))

    def build(self, training_set):
        """Raises ValueError if a batch must repeat an identity and that is refused."""
        batch_size, num_identities = training_set.batch_size, training_set.num_identities
        if self.same_identity == "refuse" and batch_size > num_identities:
            raise ValueError(
                f"L_NCE: expected a batch of distinct identities, got {batch_size} pairs of "
                f"{num_identities} training identities; lower batch_size"
            )

    def forward(self, batch: Batch):
        """Returns the term ``L_NCE`` and monitors.

        Arguments
        ---------
        batch : Batch
            Of pairs.

        Returns
        -------
        terms : dict
            ``L_NCE``: scalar, at least 0.
        monitors : dict
            ``pair_accuracy``: scalar in [0, 1], the share of faces and voices that pick their own;
            ``temperature``, where it is learned.

        Raises
        ------
        ValueError
            If an identity is repeated and that is refused.
        """
        scores = self._scores(batch.face, batch.voice)  # (B, B)
        if self.same_identity != "negative":
            repeated = _repeated(batch.voice_classes["identity"])
            if self.same_identity == "refuse" and repeated.any():
                raise ValueError(
                    "L_NCE: expected distinct identities in a batch, got repeated ones; use "
                    "speechbrain_fv.data.samplers.IdentitySampler with clips_per_identity=1"
                )
            scores = scores.masked_fill(repeated, -torch.inf)
        own = torch.arange(len(scores), device=scores.device)
        loss = cross_entropy(scores, own) + cross_entropy(scores.T, own)
        hits = (scores.argmax(dim=1) == own).float() + (scores.argmax(dim=0) == own).float()
        monitors = {"pair_accuracy": hits.mean() / 2}
        if self.log_scale is not None:
            monitors["temperature"] = (-self.log_scale.detach()).exp()
        return {"L_NCE": loss}, monitors

    def _scores(self, face, voice):
        if self.normalize:
            face, voice = normalize(face, dim=1), normalize(voice, dim=1)
        if self.log_scale is None:
            return face @ voice.T / self.temperature
        with torch.no_grad():  # the value itself is clamped, so that its gradient can bring it back
            self.log_scale.clamp_(max=math.log(LARGEST_SCALE))
        return face @ voice.T * self.log_scale.exp()


def _repeated(identity):
    """Which pairs (B, B) of different rows are of one known identity."""
    repeated = (identity.unsqueeze(1) == identity) & (identity != UNKNOWN)
    return repeated.fill_diagonal_(False)


class EmbeddingNormLoss(Loss):
    """L_norm: the mean over pairs of ``||f*||^2 + ||v*||^2``.

    It keeps embeddings small whose length a loss does not take out, as Sohn's N-pair loss (2016)
    does with the weight 0.02.

    Example
    -------
    >>> terms, monitors = EmbeddingNormLoss()(Batch(torch.ones(3, 4), torch.zeros(3, 4)))
    >>> terms["L_norm"]
    tensor(4.)
    """

    terms = ("L_norm",)
    needs = Needs(pairs=False)

    def forward(self, batch: Batch):
        """Returns the term ``L_norm``, a scalar of at least 0, and no monitors."""
        lengths = batch.face.square().sum(dim=1) + batch.voice.square().sum(dim=1)
        return {"L_norm": lengths.mean()}, {}


class SupConLoss(Loss):
    """L_SupCon: InfoNCE in which all clips of an identity are positives of each other.

    For an anchor i with the positives P(i), ``-1/|P(i)| sum_{p in P(i)} log softmax_p(cos / tau)``,
    the mean over anchors: L_out of Khosla et al. (2020, Eq. 2), by pytorch-metric-learning. By
    default the anchors of one modality have all clips of the other one as candidates, and both
    directions are added as in `InfoNCELoss`, which this equals where no identity is repeated.

    Departures: candidates of the other modality only, unless `pooled`; a clip of unknown identity
    has its own pair as its one positive; a batch of one identity gives 0. tau = 0.1 is the value
    that the paper found best (unverified here).

    Arguments
    ---------
    temperature : float
        tau, positive.
    pooled : bool
        Whether faces and voices are one pool, as the views of the paper are: every other clip is a
        candidate of an anchor, whatever its modality.

    Raises
    ------
    ValueError
        If the temperature is not positive.

    Example
    -------
    >>> loss = SupConLoss(temperature=1.0)
    >>> label = {"identity": torch.tensor([0, 1])}
    >>> terms, monitors = loss(Batch(torch.eye(2), torch.eye(2), voice_classes=label))
    >>> {name: round(value.item(), 4) for name, value in terms.items()}
    {'L_SupCon': 0.6265}
    """

    terms = ("L_SupCon",)
    needs = Needs(voice=("identity",))

    def __init__(self, temperature=0.1, pooled=False):
        # Imported where it is used: it takes a second, and most methods do without.
        from pytorch_metric_learning import losses, reducers

        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature: expected a positive number, got {temperature}")
        self.pooled = pooled
        self.loss = losses.SupConLoss(temperature=temperature, reducer=reducers.MeanReducer())

    def forward(self, batch: Batch):
        """Returns the term ``L_SupCon`` and the monitor ``nearest_accuracy``.

        Arguments
        ---------
        batch : Batch
            Of pairs.

        Returns
        -------
        terms : dict
            ``L_SupCon``: scalar, at least 0.
        monitors : dict
            ``nearest_accuracy``: scalar in [0, 1], the share of faces and voices whose nearest clip
            of the other modality is of their identity.
        """
        face, voice = batch.face, batch.voice
        identity = batch.voice_classes["identity"]
        rows = torch.arange(len(identity), device=identity.device)
        label = torch.where(identity == UNKNOWN, -1 - rows, identity)
        if self.pooled:
            loss = self.loss(torch.cat([face, voice]), torch.cat([label, label]))
        else:
            # The library takes candidates whose labels are the same object for the anchors.
            other = label.clone()
            loss = self.loss(face, label, ref_emb=voice, ref_labels=other)
            loss = loss + self.loss(voice, label, ref_emb=face, ref_labels=other)
        with torch.no_grad():
            scores = normalize(face, dim=1) @ normalize(voice, dim=1).T
            nearest = torch.stack([scores.argmax(dim=1), scores.argmax(dim=0)])
            accuracy = (label[nearest] == label).float().mean()
        return {"L_SupCon": loss}, {"nearest_accuracy": accuracy}
