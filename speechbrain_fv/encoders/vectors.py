"""The network of both branches on precomputed vectors."""

import torch

from speechbrain_fv.distributed import Dropout
from speechbrain_fv.encoders.common import fix_bias, person_shares


class VectorNetwork(torch.nn.Module):
    """A two-layer network on precomputed vectors, for either modality.

    Vectors are scaled to unit length, centred, and multiplied by their covariance to a power: what
    a face and a voice share lies in the directions in which people differ most, and few pairs do
    not tell a network so. `fit` takes the statistics from the training vectors; before it, vectors
    are only scaled.

    Arguments
    ---------
    input_dim : int
        D, the width of the vectors.
    hidden_dim : int
        Width of the hidden layer.
    output_dim : int
        Width of the output.
    dropout : float
        Share of hidden units that is dropped in training, in [0, 1).
    covariance_power : float
        0 only centres, 0.5 multiplies every principal component by its standard deviation.

    Example
    -------
    >>> VectorNetwork(input_dim=4, output_dim=2)(torch.randn(3, 4)).shape
    torch.Size([3, 2])
    """

    def __init__(
        self, input_dim, hidden_dim=512, output_dim=256, dropout=0.5, covariance_power=0.5
    ):
        super().__init__()
        self.input_dim = input_dim
        self.covariance_power = covariance_power
        self.register_buffer("mean", torch.zeros(input_dim))
        self.register_buffer("weighting", torch.eye(input_dim))
        self.num_features = output_dim
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(input_dim, hidden_dim),
            torch.nn.BatchNorm1d(hidden_dim),
            torch.nn.ReLU(),
            Dropout(dropout),
            torch.nn.Linear(hidden_dim, output_dim),
        )
        fix_bias(self.layers[0])

    @property
    def last_layer(self):
        """The layer that gives the output."""
        return self.layers[-1]

    def fit(self, vectors, identity=None):
        """Takes mean and covariance from the training vectors, shape (N, D).

        Arguments
        ---------
        vectors : torch.Tensor of shape (N, D)
        identity : sequence of N str, optional
            Whose they are: all people count alike. By default all vectors do.

        Raises
        ------
        ValueError
            If the vectors are not D wide.
        """
        self._check_width(vectors)
        vectors = torch.nn.functional.normalize(vectors.double(), dim=1)
        whose = range(len(vectors)) if identity is None else identity
        shares = torch.from_numpy(person_shares(whose))
        mean = shares @ vectors
        centred = vectors - mean
        rows = shares.sqrt()[:, None] * centred
        if len(vectors) < self.input_dim:  # what no vector varies in has the least variance
            _, singular, directions = torch.linalg.svd(rows, full_matrices=False)
            values, directions = singular.square(), directions.T
        else:
            values, directions = torch.linalg.eigh(rows.T @ rows)
        least = 1e-6 * values.max()
        weights = values.clamp_min(least) ** self.covariance_power
        if len(vectors) < self.input_dim:
            rest = least**self.covariance_power
            identity = torch.eye(self.input_dim, dtype=vectors.dtype)
            weighting = directions * (weights - rest) @ directions.T + rest * identity
        else:
            weighting = directions * weights @ directions.T
        length = (rows @ weighting).square().sum().sqrt().clamp_min(1e-12)
        self.mean.copy_(mean)
        self.weighting.copy_(weighting / length)

    def _check_width(self, vectors):
        if vectors.shape[-1] != self.input_dim:
            raise ValueError(
                f"precomputed vectors: expected width {self.input_dim}, got {vectors.shape[-1]}; "
                "set input_dim in the face or voice include"
            )

    def forward(self, vectors, wav_lens=None):
        """Returns features, shape (B, output_dim), of vectors, shape (B, D).

        Raises
        ------
        ValueError
            If the vectors are not D wide.
        """
        self._check_width(vectors)
        vectors = torch.nn.functional.normalize(vectors, dim=1)
        return self.layers((vectors - self.mean) @ self.weighting)
