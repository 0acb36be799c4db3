"""The face branch: pixels, or precomputed vectors, to embeddings of width K."""

import torch

from speechbrain_fv.encoders.common import fix_bias, projection
from speechbrain_fv.encoders.frozen import FrozenMixin, output_width


class FaceEncoder(FrozenMixin, torch.nn.Module):
    """Returns face embeddings: a network, then a projection to K if its width differs.

    Arguments
    ---------
    network : torch.nn.Module
        Images (B, 3, H, W), or precomputed vectors (B, D), -> (B, network.num_features); or
        (B, network.head_hidden_size), as the models of timm that have a layer behind their pooling.
    embedding_dim : int
        K.
    freeze : bool
        Whether the network's weights stay as they are; the projection always trains.
    standardize : bool
        Whether a BatchNorm without weights gives each output dimension mean 0 and variance 1.
        Random encoders give all clips nearly one direction; this makes what differs visible.

    Example
    -------
    >>> from speechbrain_fv.encoders import timm_network
    >>> encoder = FaceEncoder(timm_network("resnet10t"), embedding_dim=16)
    >>> encoder(torch.randn(2, 3, 32, 32)).shape
    torch.Size([2, 16])
    """

    def __init__(self, network, embedding_dim, freeze=False, standardize=False):
        super().__init__()
        self.network = network.requires_grad_(False) if freeze else network
        self.freeze = freeze
        width = output_width(network)
        if width is None:
            raise ValueError(
                f"network: expected num_features, the width of its output, got none in "
                f"{type(network).__name__}"
            )
        self.projection = projection(width, embedding_dim, standardize)
        if standardize and hasattr(network, "last_layer"):
            fix_bias(network.last_layer)

    def forward(self, images):
        """Returns embeddings, shape (B, K), of images, shape (B, 3, H, W)."""
        return self.encode(images)
