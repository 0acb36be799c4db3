import numpy as np
import pytest
import timm
import torch
from hyperpyyaml import load_hyperpyyaml
from safetensors.torch import save_file

from speechbrain_fv.cmwr import CMWR
from speechbrain_fv.encoders import (
    GE2E,
    DimnetVoice,
    FaceEncoder,
    LayerMean,
    VectorNetwork,
    VoiceEncoder,
    timm_network,
)
from speechbrain_fv.encoders.canonical import ridge_cca
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
    (tmp_path / "embedding_model.ckpt").write_text("text")
    with pytest.raises(ValueError, match="embedding_model.ckpt: no weights are to be had"):
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


@pytest.mark.parametrize("name", ["wav2vec2", "wavlm"])
def test_the_mean_of_layers_is_that_of_their_outputs(name, tiny_transformers, tmp_path):
    options = {"source": tiny_transformers[name], "network_dim": 16, "cache_folder": str(tmp_path)}
    network = voice_encoder(name, **options).network.eval()
    wavs, lens = torch.randn(2, 8000, generator=torch.Generator().manual_seed(0)), torch.ones(2)
    with pytest.raises(ValueError, match="layers: expected numbers from 0 to 1"):
        LayerMean(network, [2])
    with pytest.raises(ValueError, match="expected a network of voice/wav2vec2.yaml"):
        LayerMean(DimnetVoice(), [1])
    mean = LayerMean(network, [0, -1])
    with torch.inference_mode():
        hidden = network(wavs, lens)
        assert hidden.shape[:2] == (2, 2)
        torch.testing.assert_close(mean(wavs, lens), (hidden[0] + hidden[1]) / 2)


def reference_ge2e(state, wav):
    """Resemblyzer's embed_utterance, written anew on numpy: mel bands, windows, LSTM, means."""
    edges = np.arange(0, 201) * 40.0  # Hz of 400 points at 16 kHz

    def mel(hz):  # Slaney: linear below 1000 Hz, 27 steps to a factor of 6.4 above
        return hz / (200 / 3) if hz < 1000 else 15 + np.log(hz / 1000) / (np.log(6.4) / 27)

    def hertz(m):
        return m * 200 / 3 if m < 15 else 1000 * np.exp((m - 15) * np.log(6.4) / 27)

    points = [hertz(m) for m in np.linspace(mel(0), mel(8000), 42)]
    bands = np.zeros((40, 201))
    for k, (low, middle, high) in enumerate(zip(points, points[1:], points[2:], strict=False)):
        rise, fall = (edges - low) / (middle - low), (high - edges) / (high - middle)
        bands[k] = np.maximum(0, np.minimum(rise, fall)) * 2 / (high - low)
    rms = np.sqrt(np.mean(wav**2))
    wav = wav * max(1.0, 10 ** (-30 / 20) / rms)
    num_frames, starts = int(np.ceil((len(wav) + 1) / 160)), []
    for start in range(0, max(1, num_frames - 160 + 77 + 1), 77):
        starts.append(start)
    if (len(wav) - starts[-1] * 160) / 25600 < 0.75 and len(starts) > 1:
        starts.pop()
    wav = np.pad(wav, (0, max(0, (starts[-1] + 160) * 160 - len(wav))))
    wav = np.pad(wav, 200)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = [wav[n : n + 400] * window for n in range(0, len(wav) - 399, 160)]
    power = np.abs(np.fft.rfft(frames)) ** 2
    mels = torch.tensor(power @ bands.T, dtype=torch.float32)
    lstm, linear = torch.nn.LSTM(40, 256, 3, batch_first=True), torch.nn.Linear(256, 256)
    lstm.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("lstm")})
    linear.load_state_dict({k[7:]: v for k, v in state.items() if k.startswith("linear")})
    partial = []
    for start in starts:
        _, (hidden, _) = lstm(mels[None, start : start + 160])
        vector = linear(hidden[-1, 0]).relu()
        partial.append(vector / vector.norm())
    mean = torch.stack(partial).mean(dim=0)
    return mean / mean.norm()


@pytest.mark.parametrize("seconds", [0.8, 1.6, 2.0, 4.3])
def test_ge2e_is_resemblyzer_s(seconds, tmp_path):
    source = GE2E()
    state = {**source.layers.state_dict(), "similarity_weight": torch.ones(1)}
    torch.save({"step": 1, "model_state": state}, tmp_path / "weights.pt")
    network = GE2E(checkpoint=str(tmp_path / "weights.pt")).eval()
    wavs = 0.02 * torch.randn(2, round(16000 * seconds), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = [
            reference_ge2e(source.layers.state_dict(), wav.double().numpy()) for wav in wavs
        ]
        torch.testing.assert_close(network(wavs), torch.stack(expected), atol=2e-5, rtol=1e-3)


def test_other_weights_for_ge2e_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no such file; expected the weights of a GE2E"):
        GE2E(checkpoint="nowhere.pt")
    torch.save({"model_state": {"x": torch.ones(1)}}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="not the weights of"):
        GE2E(checkpoint=str(tmp_path / "w.pt"))
    (tmp_path / "w.pt").write_text("text")
    with pytest.raises(Exception, match="weights") as caught:
        GE2E(checkpoint=str(tmp_path / "w.pt"))
    assert isinstance(caught.value, ValueError)


def test_few_wide_vectors_have_the_weighting_of_their_whole_covariance():
    """Fewer vectors than dimensions take a shorter way to the same matrix."""
    vectors = torch.randn(12, 40, generator=torch.Generator().manual_seed(0))
    network = VectorNetwork(40)
    network.fit(vectors)
    unit = torch.nn.functional.normalize(vectors.double(), dim=1)
    centred = unit - unit.mean(dim=0)
    values, directions = torch.linalg.eigh(centred.T @ centred / 12)
    weights = values.clamp_min(1e-6 * values.max()).sqrt()
    expected = directions * weights @ directions.T
    expected /= (centred @ expected).square().sum(dim=1).mean().sqrt()
    torch.testing.assert_close(network.weighting.double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("face_dim", "voice_dim"), [(5, 4), (60, 7), (80, 90)])
def test_ridge_cca_of_any_width_is_that_of_whole_matrices(face_dim, voice_dim):
    rng = np.random.default_rng(1)
    shared = rng.normal(size=(30, 3))
    names = [f"p{row // 2}" for row in range(30)]
    sides = []
    for dim in (face_dim, voice_dim):
        sides.append(shared @ rng.normal(size=(3, dim)) + 0.3 * rng.normal(size=(30, dim)))
    found = ridge_cca(sides[0], names, sides[1], names, num_coordinates=3, ridge=0.5)
    white, means = [], []
    for vectors in sides:
        centred = vectors - vectors.mean(axis=0)
        covariance = centred.T @ centred / 30
        covariance += 0.5 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        values, directions = np.linalg.eigh(covariance)
        white.append(directions / np.sqrt(values) @ directions.T)
        means.append(centred.reshape(15, 2, -1).mean(axis=1))
    matrix = white[0] @ (means[0].T @ means[1] / 15) @ white[1]
    left, correlations, right = np.linalg.svd(matrix)
    np.testing.assert_allclose(found.correlations, correlations[:3], rtol=1e-8)
    for own, expected in (
        (found.face, white[0] @ left[:, :3]),
        (found.voice, white[1] @ right[:3].T),
    ):
        signs = np.sign((own * expected).sum(axis=0))
        np.testing.assert_allclose(own * signs, expected, atol=1e-8)
