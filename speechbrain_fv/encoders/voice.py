"""The voice branch: waveforms, or precomputed vectors, to embeddings of width K."""

import torch
from speechbrain.lobes.models import Xvector as xvector
from speechbrain.nnet.pooling import StatisticsPooling
from speechbrain.utils.fetching import fetch

from speechbrain_fv.encoders.common import fix_bias, load_strictly, projection
from speechbrain_fv.encoders.frozen import FrozenMixin


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
        self.projection = projection(network_dim, embedding_dim, standardize)
        if standardize and hasattr(network, "last_layer"):
            fix_bias(network.last_layer)
        if pretrained:
            state = _published_weights(pretrained, checkpoint_name)
            weights_of = network if self.head is None else self.frozen_network
            load_strictly(weights_of, state, f"{pretrained}/{checkpoint_name}")

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
        return self.encode(wavs, wav_lens)

    def prepare(self, wavs, wav_lens):
        """Returns what the network is called with: features (B, T, F) or `wavs`, and `wav_lens`."""
        x = wavs
        if self.features is not None:
            if wavs.device.type != "cpu":
                keep_on(self.features, wavs.device)
            x = self.features(wavs)  # (B, T, F)
        if self.normalize is not None:
            x = self.normalize(x, wav_lens)
        return x, wav_lens


def keep_on(features, device):
    """Moves the tensors that SpeechBrain's features keep outside of parameters and buffers.

    Windows, filters and the like would be copied to the device in every step, which each time waits
    for all that it has to do.
    """
    for part in features.modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, torch.Tensor):
                setattr(part, name, value.to(device))
            elif name == "device_inp":  # where a `Filterbank` makes its filters
                part.device_inp = device


def _published_weights(source, name):
    """Returns the weights in a folder or a model on the hub; ValueError where they are not."""
    try:
        path = fetch(name, source=source, savedir=None)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of the hub's client, of torch and of pickle, of many kinds
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(
            f"{source}/{name}: no weights are to be had ({reason}); a network connection, with "
            "HF_HUB_OFFLINE=1 the hub's cache, or a local folder has them"
        ) from error


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


class LayerMean(torch.nn.Module):
    """Returns the mean of some layers of wav2vec 2.0, HuBERT or WavLM.

    Arguments
    ---------
    network : torch.nn.Module
        SpeechBrain's, or a `SpeechTransformer`; it is told to give all layers.
    layers : sequence of int
        Which: 0 is what the first layer is fed, 1 the output of the first, -1 that of the last.

    Raises
    ------
    ValueError
        If there are no layers, or the network has no such one.
    """

    def __init__(self, network, layers):
        super().__init__()
        if not hasattr(network, "output_all_hiddens"):
            raise ValueError(
                "layers: expected a network of voice/wav2vec2.yaml, hubert.yaml or wavlm.yaml, got "
                f"{type(network).__name__}"
            )
        config = network.model.config
        most = config.num_hidden_layers
        layers = list(layers)
        if not layers or any(type(n) is not int or not -most - 1 <= n <= most for n in layers):
            raise ValueError(f"layers: expected numbers from 0 to {most}, got {layers}")
        network.output_all_hiddens = True
        self.network, self.layers = network, layers
        self.num_features = config.hidden_size

    def forward(self, wavs, wav_lens=None):
        """Returns features, shape (B, T, D), of waveforms, shape (B, samples)."""
        hidden = self.network(wavs, wav_lens)  # (layers, B, T, D)
        return hidden[self.layers].mean(dim=0)


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
