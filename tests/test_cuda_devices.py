"""Where tensors lie when a GPU trains, and how often a step waits for it: see fake_cuda.py."""

import pytest
import torch

from speechbrain_fv.losses import Batch, TrainingEmbeddings, TrainingSet
from speechbrain_fv.metrics import Strata, sort_clips
from speechbrain_fv.metrics.candidates import match_candidates
from speechbrain_fv.settings.loading import load_hparams
from tests.fake_cuda import fake_gpu, to_gpu
from tests.paths import HPARAMS

BATCH, WIDTH = 64, 16
NUM_CLASSES = {"identity": 80, "gender": 2, "nationality": 5, "video": 80}
NUM_CLIPS = 80
METHODS = {
    **dict.fromkeys(("bipcm_fst", "bipcm_literal", "bipcm_plus"), 5),
    **dict.fromkeys(("dimnet_ign", "fop", "infonce", "ldje", "pins", "ssnet"), 0),
    **dict.fromkeys(("lafv", "vfmr3", "fv_cme"), 1),
    **{"svhf": 2, "ssos": 6, "cmpc": 8, "supcon": 8},
}
"""YAML -> how often its losses wait for the device in a step, K-means done at its first look."""

UNTRUE = ("fv_cme", "supcon", "ssos")
"""Those that end, or never end, where every question is answered by yes."""


def load(*options):
    return load_hparams(["--output_folder=unused", "--device=cpu", *options])[1]


def classes(size):
    return {name: torch.randint(n, (size,), device="cuda") for name, n in NUM_CLASSES.items()}


def clips():
    vectors = (torch.randn(NUM_CLIPS, WIDTH, device="cuda") for _ in range(2))
    return TrainingEmbeddings(*vectors, classes(NUM_CLIPS), classes(NUM_CLIPS))


@pytest.mark.parametrize("method", METHODS)
def test_the_losses_of_a_step_stay_on_the_gpu(method):
    hparams = load(str(HPARAMS / f"{method}.yaml"), f"--embedding_dim={WIDTH}")
    objective = hparams["objective"]
    objective.build(TrainingSet(NUM_CLASSES, NUM_CLIPS, NUM_CLIPS, 80, BATCH, (None, None)))
    with fake_gpu(truth=method not in UNTRUE) as answers:
        to_gpu(objective)
        objective.on_training_start(clips)
        objective.on_epoch_start(5, clips)
        answers.waits.clear()
        face, voice = (torch.randn(BATCH, WIDTH, device="cuda") for _ in range(2))
        labels, generator = classes(BATCH), torch.Generator().manual_seed(0)
        batch = Batch(face, voice, labels, labels, step=700, num_steps=1000, generator=generator)
        terms, monitors = objective(batch)
        loss = hparams["loss_weights"](terms, 700)
        assert {v.device.type for v in (loss, *terms.values(), *monitors.values())} == {"cuda"}
        assert len(answers.waits) <= METHODS[method], answers.waits


@pytest.mark.parametrize("include", ["dimnet", "ecapa"])
def test_features_are_copied_to_the_gpu_once(include):
    encoder = load(str(HPARAMS / "infonce.yaml"), f"--voice=!include:voice/{include}.yaml")[
        "voice_encoder"
    ]
    with fake_gpu() as answers:
        to_gpu(encoder)
        for copies in (True, False):
            answers.waits.clear()
            wavs, lengths = torch.randn(2, 16000, device="cuda"), torch.ones(2, device="cuda")
            assert encoder(wavs, lengths).device.type == "cuda"
            assert bool(answers.waits) == copies


def test_candidates_are_counted_without_a_product_of_integers():
    with fake_gpu() as answers:
        identity = torch.arange(4, device="cuda")
        allowed = Strata(torch.zeros(4, 0, dtype=torch.int64, device="cuda"), [0]).everyone()
        side = sort_clips(torch.randn(4, 3, device="cuda"), identity, 4)
        with pytest.raises(RuntimeError, match="products of integers"):
            allowed.long() @ side.num_clips
        found = match_candidates(
            side, side, allowed, 2, lambda probes, candidates: candidates.sum(dim=2), 9
        )
        assert found.num_trials
        assert answers.waits
