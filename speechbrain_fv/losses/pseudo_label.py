"""The self-learning terms: L_cma, L_Bi-P and L_KL on pseudo-labels (Bi-Pcm, Eqs. 5-8 and 10)."""

import torch
from torch.nn.functional import cross_entropy, normalize, pad

from speechbrain_fv.losses.base import Batch, Loss, Needs
from speechbrain_fv.precision import full_float32
from speechbrain_fv.pseudo_labels import PseudoLabeler
from speechbrain_fv.pseudo_labels.agreement import held_out_agreement

LABEL_SPACES = ("refined", "input", "auto")
DISTRIBUTIONS = ("pair", "batch")


def label_agreement(face_labels, voice_labels):
    """Returns S_i of Eq. 5: 1 where a pair's two labels agree, else 0, shape (B,)."""
    return (face_labels == voice_labels).float()


def cross_modal_agreement(scores):
    """Returns L_cma of Eq. 6, the mean of exp(-S_i), for scores of shape (B,)."""
    return torch.exp(-scores).mean()


def bi_directional_loss(face_logits, voice_logits, face_labels, voice_labels):
    """Returns L_Bi-P of Eq. 8 as a mean: each modality predicts the label of the other.

    Arguments
    ---------
    face_logits, voice_logits : torch.Tensor, shape (B, q)
        phi(f*) and phi(v*).
    face_labels, voice_labels : torch.Tensor of int64, shape (B,)
        L_face and L_voice, in [0, q).

    Returns
    -------
    loss : torch.Tensor, scalar
    """
    return cross_entropy(face_logits, voice_labels) + cross_entropy(voice_logits, face_labels)


def symmetric_kl(face_logits, voice_logits):
    """Returns L_KL of Eq. 10, half the sum of the two divergences, as a mean over pairs.

    Arguments
    ---------
    face_logits, voice_logits : torch.Tensor, shape (B, q)
        Logits of p(f) and p(v). A class masked with -inf in either is left out of both.

    Returns
    -------
    loss : torch.Tensor, scalar, at least 0
    """
    masked = torch.isinf(face_logits) | torch.isinf(voice_logits)
    lowest = torch.finfo(face_logits.dtype).min
    log_face = face_logits.masked_fill(masked, lowest).log_softmax(dim=1)
    log_voice = voice_logits.masked_fill(masked, lowest).log_softmax(dim=1)
    # KL(f || v) + KL(v || f) = sum (p_f - p_v)(log p_f - log p_v)
    ratio = (log_face - log_voice).masked_fill(masked, 0)
    return 0.5 * ((log_face.exp() - log_voice.exp()) * ratio).sum(dim=1).mean()


def marginal(logits):
    """Returns the log of the mean over the batch of the label distributions, shape (1, q)."""
    return logits.softmax(dim=1).mean(dim=0, keepdim=True).log()


class PseudoLabelLoss(Loss):
    """L_cma, L_Bi-P and L_KL, each summed over the set of q.

    Arguments
    ---------
    labeler : PseudoLabeler
        Gives the pseudo-labels of a batch; knows the set of q.
    discriminator : torch.nn.Module
        phi, a `PrototypeDiscriminator` or a `LinearDiscriminator`.
    agreement : torch.nn.Module
        The trained score of L_cma, a `PredictedAgreement` or a `BilinearAgreement`.
    label_space : str
        What is clustered: "refined", f* and v* as in the paper; "input", the precomputed vectors
        that the encoders are fed, which do not move while the model trains; or "auto", the latter
        where both modalities are precomputed vectors, else the former.
    kl_of : str
        Of which distributions L_KL is: "pair", those of every face and its voice, or "batch", the
        mean distributions of all faces and of all voices. Eq. 10 leaves it open.

    Raises
    ------
    ValueError
        If `label_space` or `kl_of` is none of these.

    Example
    -------
    >>> from speechbrain_fv.losses import PredictedAgreement, PrototypeDiscriminator
    >>> loss = PseudoLabelLoss(
    ...     PseudoLabeler((2, 4), embedding_dim=8), PrototypeDiscriminator(), PredictedAgreement()
    ... )
    >>> face, voice = torch.randn(6, 8), torch.randn(6, 8)
    >>> terms, monitors = loss(Batch(face, voice, generator=torch.Generator().manual_seed(0)))
    >>> list(terms), list(monitors)
    (['L_cma', 'L_BiP', 'L_KL'], ['agreement_q2', 'agreement_q4'])
    """

    terms = ("L_cma", "L_BiP", "L_KL")

    def __init__(
        self,
        labeler: PseudoLabeler,
        discriminator,
        agreement,
        label_space="refined",
        kl_of="pair",
    ):
        super().__init__()
        for name, value, known in (
            ("label_space", label_space, LABEL_SPACES),
            ("kl_of", kl_of, DISTRIBUTIONS),
        ):
            if value not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
        self.label_space, self.kl_of = label_space, kl_of
        self.labeler = labeler
        self.discriminator = discriminator
        self.agreement = agreement

    @property
    def needs(self):
        """The inputs, where they are clustered; always pairs."""
        return Needs(inputs=self.label_space != "refined")

    def check_batch_size(self, batch_size):
        """Raises ValueError if a batch is too small for the largest q."""
        largest = max(self.labeler.num_clusters)
        if largest > batch_size:
            raise ValueError(
                f"num_clusters: q = {largest} is larger than the batch of {batch_size} pairs; "
                "lower num_clusters or raise batch_size"
            )

    def build(self, training_set):
        """Decides what "auto" means for this corpus, and gives the labeler room for its vectors.

        Raises
        ------
        ValueError
            If inputs are to be clustered that are no vectors.
        """
        widths = training_set.input_dims
        if self.label_space == "auto":
            self.label_space = "input" if all(widths) else "refined"
        if self.label_space == "refined":
            return
        if not all(widths):
            raise ValueError(
                "label_space 'input': expected precomputed vectors of both modalities, got images "
                "or speech; set label_space to 'refined' or 'auto'"
            )
        prototypes = self.labeler.past_prototypes
        width = max(prototypes.shape[1], *widths)
        self.labeler.past_prototypes = prototypes.new_zeros(len(prototypes), width)

    def validate(self, embeddings, batch_size, seed):
        """Returns the label agreement of pairs, per q, where f* and v* are clustered.

        Hard, argmax and soft, each beside that of shuffled pairs: see `pseudo_labels.agreement`.
        """
        if self.label_space == "input":
            return {}
        return held_out_agreement(self, embeddings, batch_size, seed, self.discriminator)

    def forward(self, batch: Batch):
        """Returns the terms ``L_cma``, ``L_BiP``, ``L_KL`` and the monitors ``agreement_q<q>``.

        Arguments
        ---------
        batch : Batch
            Of pairs. With label_space "input" its inputs are vectors (B, D), whose widths may
            differ between the two modalities. The generator seeds k-means++.

        Returns
        -------
        terms : dict of str to torch.Tensor, scalar
        monitors : dict of str to torch.Tensor, scalar
            Per q the share of pairs whose two hard labels agree, the mean of Eq. 5, in [0, 1].
        """
        face, voice = batch.face, batch.voice
        clustered = (face, voice)
        if self.label_space == "input":
            clustered = [self._padded(batch.face_input), self._padded(batch.voice_input)]
        labels = self.labeler(*clustered, batch.generator)  # (number of q, 2, B)
        # Cosines divided by tau need more digits than half precision has.
        with full_float32(face.device.type):
            return self._terms(face.float(), voice.float(), labels)

    def _padded(self, vectors):
        """Vectors of unit length with zeros up to the labeler's width, which change no distance."""
        width = self.labeler.past_prototypes.shape[1]
        return pad(normalize(vectors.float(), dim=1), (0, width - vectors.shape[1]))

    def _terms(self, face, voice, labels):
        terms = {name: face.new_zeros(()) for name in ("L_cma", "L_BiP", "L_KL")}
        monitors = {}
        for q, (face_labels, voice_labels) in zip(self.labeler.num_clusters, labels, strict=True):
            logits = self.discriminator(face, voice, face_labels, voice_labels, q)
            scores = self.agreement(face, voice, *logits, face_labels, voice_labels, q)
            terms["L_cma"] = terms["L_cma"] + cross_modal_agreement(scores)
            terms["L_BiP"] = terms["L_BiP"] + bi_directional_loss(
                *logits, face_labels, voice_labels
            )
            if self.kl_of == "batch":
                terms["L_KL"] = terms["L_KL"] + symmetric_kl(*map(marginal, logits))
            else:
                terms["L_KL"] = terms["L_KL"] + symmetric_kl(*logits)
            monitors[f"agreement_q{q}"] = label_agreement(face_labels, voice_labels).mean()
        return terms, monitors
