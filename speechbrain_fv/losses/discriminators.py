"""phi of Bi-Pcm, Eq. 8: what predicts the pseudo-label of the other modality."""

import torch
from torch.nn.functional import normalize, one_hot


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

    def __init__(self, temperature=0.3):
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
