"""The trained score of Bi-Pcm, Eq. 6: how well the labels of a face and a voice agree.

The hard S_i of Eq. 5 carries no gradient.
"""

import math

import torch


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


def bilinear_scores(a, b, x):
    """Returns ``a^T exp(X b) / K`` of every face with every voice (Bi-Pcm, Algorithm 1, over K).

    The gradient by X of a pair's own score is ``(a o exp(X b)) b^T / K``.

    Arguments
    ---------
    a, b : torch.Tensor, shape (B, K)
        Fused feature and label of the faces, and of the voices.
    x : torch.Tensor, shape (K, K)
        X.

    Returns
    -------
    scores : torch.Tensor, shape (B, B)
        Faces by voices; those of the pairs are on the diagonal.
    """
    return a @ torch.exp(b @ x.T).T / a.shape[1]


class BilinearAgreement(torch.nn.Module):
    """The trained score of Eq. 6 after Algorithm 1: ``S = a^T exp(X b)``.

    ``a = tanh(phi_face(f*)) o tanh(w_face(L_face))`` and b likewise for the voice; the mean over K
    takes the place of the sum, and X starts near 0, where the score is the mean of a.

    As printed (`literal`), the score is unbounded once X trains, and rises for any pair alike: on
    unrelated pairs with random labels it drives L_cma to 0 in a few hundred steps, and so tells
    nothing of agreement. By default the rows of X are scaled to an absolute sum of at most 1, which
    keeps every score in (-e, e), and a pair's score is taken relative to the mean of its face with
    the other voices of the batch.

    Arguments
    ---------
    embedding_dim : int
        K, the width of the embeddings.
    num_clusters : sequence of int
        The set of q; each has its own label embeddings.
    literal : bool
        Whether to leave the score as Algorithm 1 prints it.

    Example
    -------
    >>> score = BilinearAgreement(embedding_dim=4, num_clusters=(2,))
    >>> labels = torch.tensor([0, 1, 1])
    >>> score(torch.randn(3, 4), torch.randn(3, 4), None, None, labels, labels, q=2).shape
    torch.Size([3])
    """

    def __init__(self, embedding_dim, num_clusters, literal=False):
        super().__init__()
        self.literal = literal
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
        """Returns the scores of the pairs, shape (B,)."""
        label_face = self.w_face[str(q)](face_labels)
        label_voice = self.w_voice[str(q)](voice_labels)
        a = torch.tanh(self.phi_face(face)) * torch.tanh(label_face)
        b = torch.tanh(self.phi_voice(voice)) * torch.tanh(label_voice)
        if self.literal:
            return bilinear_scores(a, b, self.x).diagonal()
        x = self.x / self.x.abs().sum(dim=1, keepdim=True).clamp_min(1)
        scores = bilinear_scores(a, b, x)
        own = scores.diagonal()
        return own - (scores.sum(dim=1) - own) / max(1, len(own) - 1)
