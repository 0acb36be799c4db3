"""wav2vec 2.0, HuBERT and WavLM made from their sizes, which downloads nothing.

A training takes these networks from a source, with SpeechBrain's classes; a published model has
weights of its own and needs only the sizes.
"""

import torch

from speechbrain_fv.shipped import install_command

try:
    from speechbrain.integrations.huggingface.wav2vec2 import Wav2Vec2
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModel
except ImportError as error:
    raise ImportError(
        "wav2vec 2.0, HuBERT and WavLM need transformers; " + install_command("transformers")
    ) from error

FAMILIES = ("wav2vec2", "hubert", "wavlm")

SIZES = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("hidden_act", "layer_norm_eps", "do_stable_layer_norm", "num_buckets", "max_bucket_distance"),
    *("conv_dim", "conv_stride", "conv_kernel", "conv_bias", "feat_extract_norm"),
    *("feat_extract_activation", "feat_proj_layer_norm", "num_conv_pos_embeddings"),
    *("num_conv_pos_embedding_groups", "conv_pos_batch_norm", "mask_time_prob"),
    *("mask_feature_prob", "add_adapter", "adapter_kernel_size", "adapter_stride"),
    *("num_adapter_layers", "adapter_attn_dim", "output_hidden_size"),
)
"""Entries of a configuration of transformers on which weights or outputs in evaluation depend."""


class SpeechTransformer(Wav2Vec2):
    """SpeechBrain's wav2vec 2.0, HuBERT or WavLM, with the same names of weights and random values.

    Arguments
    ---------
    family : str
        One of `FAMILIES`.
    sizes : dict
        Values of entries in `SIZES`; others as transformers has them.
    normalize_wav : bool
        Whether each waveform is scaled to mean 0 and variance 1.
    output_norm : bool
        Whether a clip's output is scaled so.

    Raises
    ------
    ValueError
        If the family or an entry is another.

    Example
    -------
    >>> sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    >>> sizes |= {"conv_dim": [4], "conv_stride": [320], "conv_kernel": [400]}
    >>> sizes |= {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    >>> network = SpeechTransformer("wavlm", sizes)
    >>> network(torch.randn(2, 16000), torch.ones(2)).shape
    torch.Size([2, 49, 8])
    """

    def __init__(self, family, sizes, normalize_wav=False, output_norm=False):
        torch.nn.Module.__init__(self)  # the class between would fetch weights
        if family not in FAMILIES:
            raise ValueError(f"family: expected {', '.join(FAMILIES)}, got {family!r}")
        unknown = sorted(set(sizes) - set(SIZES))
        if unknown:
            raise ValueError(f"sizes: expected entries among {', '.join(SIZES)}, got {unknown[0]}")
        config = AutoConfig.for_model(family, **sizes, apply_spec_augment=False)
        self.model = AutoModel.from_config(config)
        self.normalize_wav, self.output_norm = bool(normalize_wav), bool(output_norm)
        self.output_all_hiddens = self.freeze = False


def describe_source(source, save_path):
    """Returns the arguments family, sizes and normalize_wav of a `SpeechTransformer`, as a dict.

    Arguments
    ---------
    source : str
        Name on the Hugging Face hub, or a local folder.
    save_path : str
        Where a training has cached it.

    Raises
    ------
    OSError
        If the source is not there.
    ValueError
        If it is of no family in `FAMILIES`.
    """
    config = AutoConfig.from_pretrained(source, cache_dir=save_path)
    if config.model_type not in FAMILIES:
        raise ValueError(f"expected a model of {', '.join(FAMILIES)}, got {config.model_type}")
    values = config.to_dict()
    return {
        "family": config.model_type,
        "sizes": {name: values[name] for name in SIZES if values.get(name) is not None},
        "normalize_wav": AutoFeatureExtractor.from_pretrained(
            source, cache_dir=save_path
        ).do_normalize,
    }
