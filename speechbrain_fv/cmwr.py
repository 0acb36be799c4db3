"""The cross-modal weighted residual block that faces and voices share."""

import torch


class CMWR(torch.nn.Module):
    """Returns ``tanh(x + alpha FC(x))`` with ``FC(x) = dropout(W2 tanh(W1 x))`` (Bi-Pcm, Eqs. 1-2).

    One block serves both modalities: its weights are the only ones a face and a voice have in
    common, so it is where the two spaces are made one. Outputs lie in (-1, 1).

    Arguments
    ---------
    embedding_dim : int
        K, the width of the embeddings.
    dropout : float
        Share of the residual's entries that is dropped in training, in [0, 1).
    alpha : float
        Initial value of the learnable scalar alpha, the weight of the residual.

    Example
    -------
    >>> block = CMWR(embedding_dim=8)
    >>> block(torch.randn(4, 8)).shape
    torch.Size([4, 8])
    """

    def __init__(self, embedding_dim, dropout=0.1, alpha=1.0):
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: expected a share in [0, 1), got {dropout}")
        self.w1 = torch.nn.Linear(embedding_dim, embedding_dim)
        self.w2 = torch.nn.Linear(embedding_dim, embedding_dim)
        self.dropout = torch.nn.Dropout(dropout)
        self.alpha = torch.nn.Parameter(torch.tensor(float(alpha)))

    def forward(self, embeddings):
        """Returns f* or v* for embeddings of either modality.

        Arguments
        ---------
        embeddings : torch.Tensor, shape (..., B, K)
            Outputs of the face or the voice encoder, or of both, stacked.

        Returns
        -------
        refined : torch.Tensor, shape (..., B, K)
            Values in (-1, 1).
        """
        residual = self.dropout(self.w2(torch.tanh(self.w1(embeddings))))
        return torch.tanh(embeddings + self.alpha * residual)
