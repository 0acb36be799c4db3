import numpy as np
import pytest
import timm
import torch
from hyperpyyaml import load_hyperpyyaml
from safetensors.torch import save_file

from speechbrain_fv.cmwr import CMWR
from speechbrain_fv.encoders import (
    DimnetVoice,
    FaceEncoder,
    VectorNetwork,
    VoiceEncoder,
    timm_network,
)
from tests.paths import HPARAMS

VOICES = ["dimnet", "ecapa", "xvector", "resnet"]


def voice_encoder(name, **options):
    """The voice encoder of an include, as the method YAMLs build it."""
    with open(HPARAMS / "voice" / f"{name}.yaml") as file:
        voice = load_hyperpyyaml(file, options)
    keys = ("features", "normalize", "network", "network_dim", "pretrained", "freeze")
    return VoiceEncoder(embedding_dim=32, **{key: voice[key] for key in keys})


def trains_a_step(encoder):
    """One forward and backward pass on noise; returns the embeddings."""
    wavs = 0.1 * torch.randn(4, 8000, generator=torch.Generator().manual_seed(0))
    embeddings = encoder(wavs, torch.ones(4))
    embeddings.square().sum().backward()
    gradients = [p.grad for p in encoder.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.abs().sum() > 0 for gradient in gradients)
    return embeddings


@pytest.mark.parametrize("name", VOICES)
def test_every_voice_include_keeps_the_contract_and_trains(name):
    assert trains_a_step(voice_encoder(name)).shape == (4, 32)


@pytest.mark.parametrize("name", VOICES)
def test_a_clip_has_one_embedding_in_evaluation(name):
    """Alone and among others, and whatever the generator of random numbers did before."""
    encoder = voice_encoder(name).eval()
    wavs = 0.1 * torch.randn(4, 8000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together = encoder(wavs, torch.ones(4))
        state = torch.get_rng_state()
        alone = torch.cat([encoder(wav[None], torch.ones(1)) for wav in wavs])
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["wav2vec2", "wavlm"])
def test_transformer_includes_keep_the_contract_and_train(name, tiny_transformers, tmp_path):
    options = {
        "source": tiny_transformers[name],
        "network_dim": 16,
        "cache_folder": str(tmp_path),
    }
    assert trains_a_step(voice_encoder(name, **options)).shape == (4, 32)


@pytest.mark.parametrize("name", ["wav2vec2", "wavlm"])
def test_a_transformer_made_from_its_sizes_is_that_of_speechbrain(
    name, tiny_transformers, tmp_path
):
    transformer = pytest.importorskip("speechbrain_fv.encoders.transformer")
    source = tiny_transformers[name]
    options = {"source": source, "network_dim": 16, "cache_folder": str(tmp_path)}
    fetched = voice_encoder(name, **options).network.eval()
    description = transformer.describe_source(source, str(tmp_path))
    made = transformer.SpeechTransformer(**description, output_norm=True).eval()
    made.load_state_dict(fetched.state_dict())
    wavs = torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(made(wavs, torch.ones(2)), fetched(wavs, torch.ones(2)))
    for family, sizes in (("bert", {}), (name, {"attn_implementation": "eager"})):
        with pytest.raises(ValueError, match=r"family: expected|sizes: expected entries among"):
            transformer.SpeechTransformer(family, sizes)


def test_dimnet_has_the_layers_of_the_paper():
    convolutions = [m for m in DimnetVoice().layers if isinstance(m, torch.nn.Conv1d)]
    widths = [(c.in_channels, c.out_channels, c.bias is not None) for c in convolutions]
    assert widths == [
        (64, 256, False),
        (256, 384, False),
        (384, 576, False),
        (576, 864, False),
        (864, 256, True),
    ]
    assert {(c.kernel_size, c.stride, c.padding) for c in convolutions} == {((3,), (2,), (1,))}


def test_a_published_voice_model_loads_strictly(tmp_path):
    source = voice_encoder("dimnet")
    torch.save(source.network.state_dict(), tmp_path / "embedding_model.ckpt")
    loaded = voice_encoder("dimnet", pretrained=str(tmp_path))
    for key, value in source.network.state_dict().items():
        assert torch.equal(value, loaded.network.state_dict()[key])

    torch.save({"other.weight": torch.zeros(1)}, tmp_path / "embedding_model.ckpt")
    with pytest.raises(ValueError, match="not the weights of this network"):
        voice_encoder("dimnet", pretrained=str(tmp_path))


def test_a_frozen_network_keeps_weights_and_statistics():
    encoder = voice_encoder("dimnet", freeze=True).train()
    before = {key: value.clone() for key, value in encoder.network.state_dict().items()}
    trains_a_step(encoder)
    assert all(p.grad is None for p in encoder.network.parameters())
    after = encoder.network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("model", ["resnet10t", "mobilenetv3_small_050", "vit_tiny_patch16_224"])
def test_face_networks_of_timm_fit_whatever_stands_behind_their_pooling(model):
    encoder = FaceEncoder(timm_network(model), embedding_dim=24).eval()
    assert encoder(torch.zeros(2, 3, 224, 224)).shape == (2, 24)


def test_face_weights_load_from_a_local_file_without_their_classifier(tmp_path):
    source = timm_network("resnet10t")
    state = {**source.state_dict(), "fc.weight": torch.zeros(3, 512), "fc.bias": torch.zeros(3)}
    save_file(state, tmp_path / "face.safetensors")
    loaded = timm_network("resnet10t", checkpoint=str(tmp_path / "face.safetensors"))
    for key, value in source.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key])

    whole = timm.create_model("regnetx_002", num_classes=3)  # its classifier is head.fc
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")
    loaded = timm_network("regnetx_002", checkpoint=str(tmp_path / "whole.safetensors"))
    assert torch.equal(loaded.state_dict()["stem.conv.weight"], whole.stem.conv.weight)

    del state["conv1.0.weight"]
    save_file(state, tmp_path / "face.safetensors")
    with pytest.raises(ValueError, match=r"missing \['conv1.0.weight'\]"):
        timm_network("resnet10t", checkpoint=str(tmp_path / "face.safetensors"))


def test_face_mistakes_are_named():
    with pytest.raises(ValueError, match=r"timm knows no 'resnet35'.*resnet34"):
        timm_network("resnet35")
    with pytest.raises(ValueError, match="no file nowhere.pth"):
        timm_network("resnet10t", checkpoint="nowhere.pth")


def test_face_encoder_projects_to_any_width():
    encoder = FaceEncoder(timm_network("resnet10t"), embedding_dim=24, freeze=True).train()
    assert encoder(torch.randn(2, 3, 64, 64)).shape == (2, 24)
    assert [name for name, p in encoder.named_parameters() if p.requires_grad] == [
        "projection.0.weight",
        "projection.0.bias",
    ]


def test_biases_that_a_batch_norm_takes_out_do_not_train():
    """Their gradients are rounding alone, which Adam would scale up."""
    face = FaceEncoder(VectorNetwork(4, output_dim=8), 8, standardize=True)
    voice = VoiceEncoder(VectorNetwork(4, output_dim=8), 8, 8, standardize=True)
    wider = FaceEncoder(VectorNetwork(4, output_dim=8), 16, standardize=True)
    assert not wider.projection[0].bias.requires_grad
    for encoder in (face, voice, wider):
        assert not encoder.network.layers[-1].bias.requires_grad
        assert encoder.network.layers[-1].weight.requires_grad


def test_vectors_of_the_wrong_width_are_refused():
    with pytest.raises(ValueError, match="expected width 128, got 64"):
        VectorNetwork(input_dim=128)(torch.randn(2, 64))


def test_cmwr_follows_equations_1_and_2():
    block = CMWR(embedding_dim=5, dropout=0.5, alpha=0.7).eval()
    x = torch.randn(3, 5)
    hidden = torch.tanh(x @ block.w1.weight.T + block.w1.bias)
    expected = torch.tanh(x + 0.7 * (hidden @ block.w2.weight.T + block.w2.bias))
    assert torch.allclose(block(x), expected, atol=1e-6)
    assert not torch.equal(block.train()(x), block(x))  # dropout
    assert block.alpha.requires_grad
    with pytest.raises(ValueError, match="dropout: expected a share"):
        CMWR(5, dropout=1.0)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_vectors_are_centred_and_weighted_by_their_covariance(power):
    """Against numpy: along a principal component of variance w the factor is w to the power."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(200, 5)) * [3.0, 2.0, 1.0, 0.5, 0.2] + 1
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    centred = unit - unit.mean(axis=0)
    left, singular, right = np.linalg.svd(centred, full_matrices=False)
    expected = (left * singular * (singular**2 / 200) ** power) @ right
    expected /= np.sqrt((expected**2).sum(axis=1).mean())

    network = VectorNetwork(5, covariance_power=power)
    network.layers = torch.nn.Identity()
    before = network(torch.tensor(vectors, dtype=torch.float32))
    np.testing.assert_allclose(before, unit, atol=1e-6)
    network.fit(torch.tensor(vectors, dtype=torch.float32))
    found = network(torch.tensor(vectors, dtype=torch.float32))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    with pytest.raises(ValueError, match="expected width 5, got 4"):
        network.fit(torch.ones(3, 4))
