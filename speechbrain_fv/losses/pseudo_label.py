"""The self-learning terms: L_cma, L_Bi-P and L_KL on pseudo-labels (Bi-Pcm, Eqs. 5-8 and 10)."""

import math

import torch
from torch.nn.functional import cross_entropy, normalize, one_hot, pad

from speechbrain_fv.losses.base import Batch, Loss, Needs
from speechbrain_fv.pseudo_labels import PseudoLabeler
from speechbrain_fv.pseudo_labels.agreement import held_out_agreement

LABEL_SPACES = ("refined", "input", "auto")


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


class PrototypeDiscriminator(torch.nn.Module):
    """phi of Eq. 8 that compares a sample with the other modality's cluster centres of this batch.

    ``phi(f*_i)_c = cos(f*_i, o_c_voice) / tau`` and ``phi(v*_i)_c = cos(v*_i, o_c_face) / tau``;
    o_c is the mean of the unit-normalised features of cluster c, without gradient. It names
    clusters by where they lie, so labels need not mean the same from one batch to the next.

    Arguments
    ---------
    temperature : float
        tau, positive.

    Example
    -------
    >>> phi = PrototypeDiscriminator()
    >>> labels = torch.tensor([0, 1, 1])
    >>> face_logits, voice_logits = phi(torch.eye(3), torch.eye(3), labels, labels, q=2)
    >>> face_logits.argmax(dim=1)
    tensor([0, 1, 1])
    """

    def __init__(self, temperature=0.1):
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature: expected a positive number, got {temperature}")
        self.temperature = temperature

    def forward(self, face, voice, face_labels, voice_labels, q):
        """Returns phi(f*) and phi(v*).

        Arguments
        ---------
        face, voice : torch.Tensor, shape (B, K)
            f* and v*, pair by pair.
        face_labels, voice_labels : torch.Tensor of int64, shape (B,)
            Pseudo-labels, in [0, q).
        q : int
            Number of clusters.

        Returns
        -------
        face_logits, voice_logits : torch.Tensor, shape (B, q)
            Cosines divided by tau; -inf for an empty cluster.
        """
        face, voice = normalize(face, dim=1), normalize(voice, dim=1)
        face_logits = self._compare(face, voice, voice_labels, q)
        voice_logits = self._compare(voice, face, face_labels, q)
        return face_logits, voice_logits

    def _compare(self, samples, others, other_labels, q):
        members = one_hot(other_labels, q).to(others.dtype)  # (B, q)
        counts = members.sum(dim=0)
        centres = members.T @ others.detach() / counts.clamp_min(1).unsqueeze(1)  # (q, K)
        logits = samples @ normalize(centres, dim=1).T / self.temperature
        return logits.masked_fill(counts == 0, -torch.inf)


class LinearDiscriminator(torch.nn.Module):
    """phi of Eq. 8 read literally: one linear layer per q, shared by both modalities.

    Arguments
    ---------
    embedding_dim : int
        K, the width of the embeddings.
    num_clusters : sequence of int
        The set of q.

    Example
    -------
    >>> phi = LinearDiscriminator(embedding_dim=4, num_clusters=(2, 3))
    >>> face_logits, voice_logits = phi(torch.randn(5, 4), torch.randn(5, 4), None, None, q=3)
    >>> face_logits.shape
    torch.Size([5, 3])
    """

    def __init__(self, embedding_dim, num_clusters):
        super().__init__()
        self.classifiers = torch.nn.ModuleDict(
            {str(q): torch.nn.Linear(embedding_dim, q) for q in num_clusters}
        )

    def forward(self, face, voice, face_labels, voice_labels, q):
        """Returns phi(f*) and phi(v*), both of shape (B, q); the labels are not used."""
        classifier = self.classifiers[str(q)]
        return classifier(face), classifier(voice)


class PredictedAgreement(torch.nn.Module):
    """The trained score of Eq. 6, ``sum_c p(f)_c p(v)_c`` of the predicted label distributions.

    It is the hard S_i of Eq. 5, which carries no gradient, with one-hot labels replaced by
    probabilities.

    Example
    -------
    >>> score = PredictedAgreement()
    >>> logits = torch.zeros(1, 4)
    >>> score(None, None, logits, logits, None, None, q=4)
    tensor([0.2500])
    """

    def forward(self, face, voice, face_logits, voice_logits, face_labels, voice_labels, q):
        """Returns the scores, shape (B,), in [0, 1], of logits of shape (B, q)."""
        return (face_logits.softmax(dim=1) * voice_logits.softmax(dim=1)).sum(dim=1)


def bilinear_score(a, b, x):
    """Returns ``a^T exp(X b) / K`` for every pair (Bi-Pcm, Algorithm 1, divided by K).

    Its gradient by X, for one pair, is ``(a o exp(X b)) b^T / K``.

    Arguments
    ---------
    a, b : torch.Tensor, shape (B, K)
        Fused feature and label of the face, and of the voice.
    x : torch.Tensor, shape (K, K)
        X.

    Returns
    -------
    scores : torch.Tensor, shape (B,)
    """
    return (a * torch.exp(b @ x.T)).mean(dim=1)


class BilinearAgreement(torch.nn.Module):
    """The trained score of Eq. 6 as Algorithm 1 writes it: ``S = a^T exp(X b)``.

    ``a = tanh(phi_face(f*)) o tanh(w_face(L_face))`` and b likewise for the voice. The tanh bounds
    the inputs, the mean over K instead of the sum bounds the score, and X starts near 0, where the
    score is the mean of a.

    Arguments
    ---------
    embedding_dim : int
        K, the width of the embeddings.
    num_clusters : sequence of int
        The set of q; each has its own label embeddings.

    Example
    -------
    >>> score = BilinearAgreement(embedding_dim=4, num_clusters=(2,))
    >>> labels = torch.tensor([0, 1, 1])
    >>> score(torch.randn(3, 4), torch.randn(3, 4), None, None, labels, labels, q=2).shape
    torch.Size([3])
    """

    def __init__(self, embedding_dim, num_clusters):
        super().__init__()
        self.phi_face = torch.nn.Linear(embedding_dim, embedding_dim)
        self.phi_voice = torch.nn.Linear(embedding_dim, embedding_dim)
        self.w_face = self._label_embeddings(embedding_dim, num_clusters)
        self.w_voice = self._label_embeddings(embedding_dim, num_clusters)
        self.x = torch.nn.Parameter(
            torch.randn(embedding_dim, embedding_dim) * 0.01 / math.sqrt(embedding_dim)
        )

    @staticmethod
    def _label_embeddings(embedding_dim, num_clusters):
        return torch.nn.ModuleDict(
            {str(q): torch.nn.Embedding(q, embedding_dim) for q in num_clusters}
        )

    def forward(self, face, voice, face_logits, voice_logits, face_labels, voice_labels, q):
        """Returns the scores, shape (B,), in (-e, e) while X is small."""
        label_face = self.w_face[str(q)](face_labels)
        label_voice = self.w_voice[str(q)](voice_labels)
        a = torch.tanh(self.phi_face(face)) * torch.tanh(label_face)
        b = torch.tanh(self.phi_voice(voice)) * torch.tanh(label_voice)
        return bilinear_score(a, b, self.x)


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

    Raises
    ------
    ValueError
        If `label_space` is none of the three.

    Example
    -------
    >>> loss = PseudoLabelLoss(
    ...     PseudoLabeler((2, 4), embedding_dim=8), PrototypeDiscriminator(), PredictedAgreement()
    ... )
    >>> face, voice = torch.randn(6, 8), torch.randn(6, 8)
    >>> terms, monitors = loss(Batch(face, voice, generator=torch.Generator().manual_seed(0)))
    >>> list(terms), list(monitors)
    (['L_cma', 'L_BiP', 'L_KL'], ['agreement_q2', 'agreement_q4'])
    """

    terms = ("L_cma", "L_BiP", "L_KL")

    def __init__(self, labeler: PseudoLabeler, discriminator, agreement, label_space="refined"):
        super().__init__()
        if label_space not in LABEL_SPACES:
            raise ValueError(
                f"label_space: expected one of {', '.join(LABEL_SPACES)}, got {label_space!r}"
            )
        self.label_space = label_space
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
        width = max(self.labeler.past_prototypes.shape[1], *widths)
        self.labeler.past_prototypes = self.labeler.past_prototypes.new_zeros(2, width)

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
        with torch.autocast(face.device.type, enabled=False):
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
            terms["L_KL"] = terms["L_KL"] + symmetric_kl(*logits)
            monitors[f"agreement_q{q}"] = label_agreement(face_labels, voice_labels).mean()
        return terms, monitors
