"""Encoders: pixels, samples or precomputed vectors -> embeddings of width K.

The contracts: ``face_encoder(images) -> (B, K)``, ``voice_encoder(wavs, wav_lens) -> (B, K)``.
The network inside is swapped through YAML.
"""

import difflib
from pathlib import Path

import timm
import torch
from speechbrain.lobes.models import Xvector as xvector
from speechbrain.nnet.pooling import StatisticsPooling
from speechbrain.utils.fetching import fetch

from speechbrain_fv.distributed import Dropout


def _projection(network_dim, embedding_dim, standardize):
    """A linear layer to width K where the network has another, and a BatchNorm where asked for."""
    layers = torch.nn.Sequential()
    if network_dim != embedding_dim:
        layers.append(torch.nn.Linear(network_dim, embedding_dim))
    if standardize:
        if layers:
            _fix_bias(layers[-1])
        layers.append(torch.nn.BatchNorm1d(embedding_dim, affine=False))
    return layers


def _fix_bias(layer):
    """Stops the training of a bias that a BatchNorm behind the layer takes out again.

    Its gradient is zero but for rounding, which Adam would scale up to steps of full size.
    """
    layer.bias.requires_grad_(False)


def _load_strictly(network, state, source):
    """Loads weights, refusing any missing or extra key: half-loaded encoders train silently."""
    missing, extra = network.load_state_dict(state, strict=False)
    if missing or extra:
        raise ValueError(
            f"{source}: not the weights of this network; missing {missing[:3]}, "
            f"extra {extra[:3]} ({len(missing)} and {len(extra)} in all)"
        )


class FrozenMixin:
    """Keeps ``self.network`` in evaluation mode when ``self.freeze``: BatchNorm learns nothing."""

    def train(self, mode=True):
        super().train(mode)
        if self.freeze:
            self.network.eval()
        return self


def timm_network(model, checkpoint=None):
    """Returns a timm model without its classifier, and nothing is downloaded.

    Arguments
    ---------
    model : str
        Any name that `timm.list_models()` knows, for example resnet34.
    checkpoint : str, optional
        Local file of weights (.safetensors, .pth); a classifier in it is left out.

    Returns
    -------
    network : torch.nn.Module
        Images (B, 3, H, W) -> features (B, network.num_features).

    Raises
    ------
    ValueError
        If timm has no such model, the file is missing or its weights are of another network.
    """
    if not timm.is_model(model):
        close = difflib.get_close_matches(model, timm.list_models(), n=5)
        raise ValueError(f"face model: timm knows no {model!r}; similar ones: {close}")
    network = timm.create_model(model, pretrained=False, num_classes=0)
    if checkpoint:
        if not Path(checkpoint).is_file():
            raise ValueError(f"face checkpoint: no file {checkpoint}")
        state = timm.models.load_state_dict(checkpoint, weights_only=True)
        heads = network.default_cfg["classifier"]
        heads = (heads,) if isinstance(heads, str) else heads
        kept = {key: value for key, value in state.items() if key.split(".")[0] not in heads}
        _load_strictly(network, kept, checkpoint)
    return network


class FaceEncoder(FrozenMixin, torch.nn.Module):
    """Returns face embeddings: a network, then a projection to K if its width differs.

    Arguments
    ---------
    network : torch.nn.Module
        Images (B, 3, H, W), or precomputed vectors (B, D), -> (B, network.num_features).
    embedding_dim : int
        K.
    freeze : bool
        Whether the network's weights stay as they are; the projection always trains.
    standardize : bool
        Whether a BatchNorm without weights gives each output dimension mean 0 and variance 1.
        Random encoders give all clips nearly one direction; this makes what differs visible.

    Example
    -------
    >>> encoder = FaceEncoder(timm_network("resnet10t"), embedding_dim=16)
    >>> encoder(torch.randn(2, 3, 32, 32)).shape
    torch.Size([2, 16])
    """

    def __init__(self, network, embedding_dim, freeze=False, standardize=False):
        super().__init__()
        self.network = network.requires_grad_(False) if freeze else network
        self.freeze = freeze
        self.projection = _projection(network.num_features, embedding_dim, standardize)
        if standardize and hasattr(network, "last_layer"):
            _fix_bias(network.last_layer)

    def forward(self, images):
        """Returns embeddings, shape (B, K), of images, shape (B, 3, H, W)."""
        return self.projection(self.network(images))


class VoiceEncoder(FrozenMixin, torch.nn.Module):
    """Returns voice embeddings: features, normalised per clip, a network, a projection to K.

    Arguments
    ---------
    network : torch.nn.Module
        Called as ``network(x, wav_lens)`` on features (B, T, F), on the waveform (B, samples) or
        precomputed vectors (B, D) where `features` is None. Its output is (B, D), or (B, T', D),
        which is averaged over time.
    network_dim : int
        D, the width of the network's output.
    embedding_dim : int
        K.
    features : torch.nn.Module, optional
        Waveform (B, samples) -> features (B, T, F), such as SpeechBrain's MFCC or Fbank.
    normalize : torch.nn.Module, optional
        Called as ``normalize(features, wav_lens)``, such as SpeechBrain's InputNormalization.
    pretrained : str, optional
        Folder, or name on the Hugging Face hub, that holds `checkpoint_name`.
    checkpoint_name : str
        File of the network's weights, as SpeechBrain's published models name it.
    freeze : bool
        Whether the network's weights stay as they are; the projection always trains.
    standardize : bool
        As for `FaceEncoder`.

    Raises
    ------
    ValueError
        If the pretrained weights are not those of the network.

    Example
    -------
    >>> encoder = VoiceEncoder(DimnetVoice(64, 16), 16, 8, features=None)
    >>> encoder(torch.randn(2, 100, 64), torch.ones(2)).shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        network,
        network_dim,
        embedding_dim,
        features=None,
        normalize=None,
        pretrained=None,
        checkpoint_name="embedding_model.ckpt",
        freeze=False,
        standardize=False,
    ):
        super().__init__()
        self.network = network.requires_grad_(False) if freeze else network
        self.features = features
        self.normalize = normalize
        self.freeze = freeze
        self.projection = _projection(network_dim, embedding_dim, standardize)
        if standardize and hasattr(network, "last_layer"):
            _fix_bias(network.last_layer)
        if pretrained:
            path = fetch(checkpoint_name, source=pretrained, savedir=None)
            state = torch.load(path, map_location="cpu", weights_only=True)
            _load_strictly(network, state, f"{pretrained}/{checkpoint_name}")

    def forward(self, wavs, wav_lens):
        """Returns embeddings.

        Arguments
        ---------
        wavs : torch.Tensor, shape (B, samples)
            Mono waveforms at the features' sample rate, in [-1, 1]; or precomputed vectors (B, D).
        wav_lens : torch.Tensor, shape (B,)
            Relative lengths, in (0, 1].

        Returns
        -------
        embeddings : torch.Tensor, shape (B, K)
        """
        x = wavs if self.features is None else self.features(wavs)  # (B, T, F)
        if self.normalize is not None:
            x = self.normalize(x, wav_lens)
        x = self.network(x, wav_lens)
        if x.ndim == 3:
            x = x.mean(dim=1)
        return self.projection(x)


class DimnetVoice(torch.nn.Module):
    """DIMNet's voice network: strided convolutions over time, then the mean over time.

    Kernel 3, stride 2, padding 1; BatchNorm and ReLU after all but the last layer.

    Arguments
    ---------
    input_size : int
        F, the number of coefficients per frame.
    embedding_dim : int
        Width of the output.
    channels : sequence of int
        Widths of the hidden layers.

    Example
    -------
    >>> DimnetVoice()(torch.randn(2, 300, 64)).shape
    torch.Size([2, 256])
    """

    def __init__(self, input_size=64, embedding_dim=256, channels=(256, 384, 576, 864)):
        super().__init__()
        layers = []
        widths = (input_size, *channels)
        for width, next_width in zip(widths, channels, strict=False):
            layers += [
                torch.nn.Conv1d(width, next_width, 3, stride=2, padding=1, bias=False),
                torch.nn.BatchNorm1d(next_width),
                torch.nn.ReLU(),
            ]
        layers.append(torch.nn.Conv1d(widths[-1], embedding_dim, 3, stride=2, padding=1))
        self.layers = torch.nn.Sequential(*layers)

    @property
    def last_layer(self):
        """The layer that gives the output."""
        return self.layers[-1]

    def forward(self, features, wav_lens=None):
        """Returns the mean over time, shape (B, K), of features, shape (B, T, F).

        `wav_lens` is part of the contract and not used: all clips of a batch have one length.
        """
        return self.layers(features.transpose(1, 2)).mean(dim=2)


class Xvector(xvector.Xvector):
    """SpeechBrain's x-vector network, with one output for one clip in evaluation.

    Arguments are those of `speechbrain.lobes.models.Xvector.Xvector`, and its weights fit.

    Example
    -------
    >>> network, x, wav_lens = Xvector(in_channels=24).eval(), torch.randn(2, 50, 24), torch.ones(2)
    >>> torch.equal(network(x, wav_lens), network(x, wav_lens))
    True
    """

    def __init__(self, **arguments):
        super().__init__(**arguments)
        for index, block in enumerate(self.blocks):
            if isinstance(block, StatisticsPooling):
                self.blocks[index] = _QuietStatisticsPooling()


class _QuietStatisticsPooling(StatisticsPooling):
    """Adds to the mean in evaluation what SpeechBrain's noise, in [eps, 9 eps], is around."""

    def _get_gauss_noise(self, shape_of_tensor, device="cpu"):
        if self.training:
            return super()._get_gauss_noise(shape_of_tensor, device)
        return torch.full(shape_of_tensor, 5 * self.eps, device=device)


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
        _fix_bias(self.layers[0])

    @property
    def last_layer(self):
        """The layer that gives the output."""
        return self.layers[-1]

    def fit(self, vectors):
        """Takes mean and covariance from the training vectors, shape (N, D).

        Raises
        ------
        ValueError
            If the vectors are not D wide.
        """
        self._check_width(vectors)
        vectors = torch.nn.functional.normalize(vectors.double(), dim=1)
        mean = vectors.mean(dim=0)
        centred = vectors - mean
        values, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
        weights = values.clamp_min(1e-6 * values.max()) ** self.covariance_power
        weighting = directions * weights @ directions.T
        length = (centred @ weighting).square().sum(dim=1).mean().sqrt().clamp_min(1e-12)
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
