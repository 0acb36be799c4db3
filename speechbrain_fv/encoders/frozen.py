"""A network that stays as it is, with a head on its output that trains."""

import torch


class FrozenNetwork(torch.nn.Module):
    """A frozen network and a trained head, such as that of precomputed vectors.

    What the network gives for a clip never changes, so a training computes it once, keeps it, and
    trains the head on vectors. A published model has both, and takes images or speech.

    Arguments
    ---------
    network : torch.nn.Module
        Images (B, 3, H, W), or what the features of a voice include give, to (B, D), or
        (B, T', D), which is averaged over time.
    head : callable
        Makes the head when it is called with ``input_dim`` and the other arguments, such as
        `VectorNetwork` or `CanonicalNetwork`.
    input_dim : int, optional
        D; by default what the network says of itself.
    **options
        Further arguments of the head.

    Raises
    ------
    ValueError
        If the network does not say how wide its output is, and `input_dim` is not given.

    Example
    -------
    >>> from speechbrain_fv.encoders import VectorNetwork, timm_network
    >>> network = FrozenNetwork(timm_network("resnet10t"), VectorNetwork, output_dim=8)
    >>> network(torch.randn(2, 3, 32, 32)).shape
    torch.Size([2, 8])
    """

    def __init__(self, network, head, input_dim=None, **options):
        super().__init__()
        self.network = network.requires_grad_(False).eval()
        width = output_width(network) if input_dim is None else input_dim
        if width is None:
            raise ValueError(
                f"input_dim: expected the width of the output of {type(network).__name__}, which "
                "does not tell it, got null"
            )
        self.head = head(input_dim=width, **options)
        self.num_features = self.head.num_features

    @property
    def last_layer(self):
        """The layer that gives the output, where the head names it."""
        return self.head.last_layer

    def train(self, mode=True):
        """Sets the mode of the head; the network stays in evaluation mode."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, *inputs):
        """Returns features, shape (B, num_features)."""
        return self.head(run_frozen(self.network, *inputs))


def output_width(network):
    """Returns the width of a network's output where it tells it, else None."""
    return getattr(network, "head_hidden_size", getattr(network, "num_features", None))


def pooled(features):
    """Returns features (B, D) of (B, D), or the mean over time of (B, T', D)."""
    return features.mean(dim=1) if features.ndim == 3 else features


@torch.no_grad()
def run_frozen(network, *inputs):
    """Returns the output of a frozen network, shape (B, D)."""
    return pooled(network(*inputs))


class FrozenMixin:
    """What both encoders do with a network that is frozen, as a whole or behind a head.

    With ``self.freeze`` the network stays in evaluation mode: its BatchNorm learns nothing. With
    ``self.takes_features`` the encoder is fed what `features` returned for a clip.
    """

    takes_features = False

    def train(self, mode=True):
        """Sets the mode of all that trains."""
        super().train(mode)
        if self.freeze:
            self.network.eval()
        return self

    @property
    def frozen_network(self):
        """The network whose output for a clip never changes; None where there is none."""
        if isinstance(self.network, FrozenNetwork):
            return self.network.network
        return self.network if self.freeze else None

    @property
    def head(self):
        """The module behind `features`, in front of the projection."""
        return self.network.head if isinstance(self.network, FrozenNetwork) else None

    def encode(self, *inputs):
        """Returns embeddings, shape (B, K), of features or of what the features are made of."""
        x = inputs[0] if self.takes_features else self.features_of(*inputs)
        return self.projection(x if self.head is None else self.head(x))

    def features_of(self, *inputs):
        """Returns features (B, D): of the frozen network, or of the one that trains.

        Arguments and errors are those of `forward`.
        """
        prepared = self.prepare(*inputs)
        if self.frozen_network is not None:
            return run_frozen(self.frozen_network, *prepared)
        return pooled(self.network(*prepared))

    def prepare(self, *inputs):
        """Returns what the network is called with."""
        return inputs
