"""Whatever writes files may be killed at any moment: it then ends with the same files.

By default every job is killed at the moments of one seed. KILL_SEEDS=20 takes as many, and
`pytest -m slow tests/test_kills.py` those jobs that start interpreters of their own.
"""

import functools
import os
import resource
import shutil

import numpy as np
import pandas as pd
import pytest

from tests.kills import Trial, differences, script, snapshot
from tests.media import write_face, write_voice
from tests.paths import HPARAMS
from tests.processes import recipe
from tests.small_runs import command, write_corpus
from tests.test_ablations import write_ablation
from tests.test_compare_methods import write_comparison

SEEDS = range(int(os.environ.get("KILL_SEEDS", "1")))
SMALL = (
    *("--num_clusters=[4]", "--batch_size=16", "--steps_per_epoch=4", "--number_of_epochs=2"),
    *("--ckpt_interval_minutes=0", "--ckpt_interval_steps=3"),
)


def check(trial, num_kills=3):
    """Kills the job of a trial at the moments of each seed; fails with what then differs."""
    for seed in SEEDS:
        found = trial.outcome(np.random.default_rng(seed), num_kills)
        assert not found, "\n".join([f"seed {seed}", *found])


def careless(folder):
    """Writes two files one after the other, the second only where it is absent."""
    (folder / "first.txt").write_text("first")
    if not (folder / "second").exists():
        (folder / "second").mkdir()
        (folder / "second" / "last.txt").write_text("last")


def test_a_careless_job_is_found_out(tmp_path):
    trial = Trial(functools.partial(careless, tmp_path / "out"), tmp_path / "out", tmp_path)
    rng = np.random.default_rng(0)
    found = (text for _ in range(30) for text in trial.outcome(rng, num_kills=1))
    assert any("missing: second/last.txt" in text for text in found)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"), clips_each=2)


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    """A training, killed and resumed, whose folder is that of a whole run."""
    folder = tmp_path_factory.mktemp("trained")
    return Trial(script(command(corpus, folder / "run", *SMALL)[1:]), folder / "run", folder)


def test_training(trained):
    check(trained)
    assert (trained.folder / "report.json").is_file()


def prepare_own_data(folder, num_workers=0):
    from speechbrain_fv.corpora.own_data import prepare_own_data as prepare
    from speechbrain_fv.corpora.scan import Scanner

    scanner = Scanner(f"{folder}/out/cache", vad=False, num_workers=num_workers)
    prepare(f"{folder}/out/manifests", f"{folder}/clips.csv", scanner=scanner, least_people=1)


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """A CSV of ten people with a face and a voice each."""
    folder, rows = tmp_path_factory.mktemp("media"), []
    for number in range(10):
        face = write_face(folder / "face" / f"{number}.jpg", seed=number)
        voice = write_voice(folder / "voice" / f"{number}.wav", 1.2, seed=number)
        rows.append((f"p{number}", face, voice))
    pd.DataFrame(rows, columns=["identity", "face", "wav"]).to_csv(
        folder / "clips.csv", index=False
    )
    return folder


@pytest.fixture
def out(media):
    """A folder beside the media, which is gone after the test."""
    yield media / "out"
    shutil.rmtree(media / "out")


def test_preparation(media, out, tmp_path):
    check(Trial(functools.partial(prepare_own_data, media), out, tmp_path), 5)


@pytest.mark.slow
def test_preparation_by_several_processes(media, out, tmp_path):
    check(Trial(functools.partial(prepare_own_data, media, 2), out, tmp_path))


def prepare_voxceleb(folder):
    from tests.test_voxceleb_vggface import prepare

    prepare(folder, folder / "out")


@pytest.mark.slow
def test_preparation_of_voxceleb(tmp_path_factory, tmp_path):
    from tests import test_voxceleb_vggface

    folder = test_voxceleb_vggface.corpus.__wrapped__(tmp_path_factory)
    check(Trial(functools.partial(prepare_voxceleb, folder), folder / "out", tmp_path), 5)


def generate(folder):
    from speechbrain_fv.corpora.embedded import prepare_embedded

    prepare_embedded(f"{folder}/manifests", folder, num_identities=10, num_workers=1)


def test_generation_of_the_embedded_corpus(tmp_path):
    check(Trial(functools.partial(generate, tmp_path / "out"), tmp_path / "out", tmp_path), 2)
    assert len(list((tmp_path / "out").iterdir())) == 2  # no unfinished corpus


def fill(folder):
    from speechbrain_fv.data.digests import FileDigests
    from speechbrain_fv.data.features import FeatureStore, row_name

    store = FeatureStore(f"{folder}/out/face-x", {"network": "a"})
    files = sorted(str(path) for path in (folder / "face").iterdir())
    of_file = FileDigests(f"{folder}/out/files.jsonl").of(files)
    with store.filling():
        names = {row_name(of_file[file], view): view for file in files for view in range(4)}
        there = store.rows(names)
        for name, view in names.items():
            if name not in there:
                store.add([name], np.full((1, 3), view + name[0], np.float32))


def test_features_of_frozen_encoders(media, out, tmp_path):
    check(Trial(functools.partial(fill, media), out, tmp_path), 6)


def train_frozen(folder):
    from tests.test_frozen import FACE

    options = [
        f"--corpus=!include:corpora/own_data.yaml {{clips_csv: {folder}/clips.csv, vad: False, "
        f"least_people: 1, shares: [0.6, 0.2, 0.2], scan_workers: 0, cache_folder: {folder}/out, "
        "image_size: 32, resize: 36, clip_seconds: 0.5}",
        *(FACE, "--voice=!include:voice/dimnet.yaml", "--batch_size=4", "--num_clusters=[2]"),
        *("--steps_per_epoch=1", "--number_of_epochs=1", "--num_workers=0"),
        f"--frozen_features={{cache_folder: {folder}/out, batch_size: 2}}",
    ]
    script(command("--corpus=", folder / "out" / "run", *options)[1:])()


@pytest.mark.slow
def test_training_on_frozen_features(media, out, tmp_path):
    check(Trial(functools.partial(train_frozen, media), out, tmp_path))


def test_evaluation_and_its_figures(trained, tmp_path):
    inputs = [
        f"--{name}={trained.folder / file}"
        for name, file in (("embeddings", "embeddings_test.npz"), ("metadata", "metadata_test.csv"))
    ]
    options = [f"--output_folder={tmp_path / 'out'}", "--num_replicates=10"]
    job = script(recipe("evaluate", HPARAMS / "evaluate.yaml", *inputs, *options)[1:])
    trial = Trial(job, tmp_path / "out", tmp_path)
    assert list((tmp_path / "out" / "figures").glob("*.pdf"))
    check(trial, 2)


def test_figures(trained, tmp_path):
    (tmp_path / "out").mkdir()
    shutil.copy(trained.folder / "report.json", tmp_path / "out")
    check(Trial(script(recipe("figures", tmp_path / "out")[1:]), tmp_path / "out", tmp_path), 2)


def test_comparison_of_two_reports(trained, tmp_path):
    options = [f"--output_folder={tmp_path / 'out'}"]
    job = script(recipe("compare", trained.folder, trained.folder, *options)[1:])
    check(Trial(job, tmp_path / "out", tmp_path), 2)


def full_disk():
    """No file may grow beyond 200 kB, less than the state of the optimiser has."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))


def test_a_full_disk_is_one_line_and_the_next_start_goes_on(trained):
    """A checkpoint that cannot be written leaves nothing, and those before it whole."""
    shutil.rmtree(trained.folder)
    code, printed = trained.attempt(full_disk)
    (line,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert code == 2 and f"error: {trained.folder}/save: a checkpoint cannot be written" in line
    assert "make room and start again" in line and "Traceback" not in printed
    assert os.listdir(trained.folder / "save") == ["record.json"]
    assert trained.attempt(bool)[0] == 0
    assert not differences(trained.expected, snapshot(trained.folder))


@pytest.mark.slow
def test_publishing(media_run, tmp_path):
    folder = tmp_path / "out"
    options = ["--repo=owner/small", f"--bundle_folder={folder}"]
    job = script(recipe("publish", media_run, *options)[1:])
    check(Trial(job, folder, tmp_path))


def run_command(argv):
    from speechbrain_fv.commands import main

    assert main(argv) == 0


@pytest.mark.slow
@pytest.mark.parametrize("command", ["embed", "search build"])
def test_embeddings_and_galleries(command, bundle_folder, media, tmp_path):
    out = tmp_path / "out"
    goal = {
        "embed": ["embed", str(media), f"--output={out / 'vectors.npz'}"],
        "search build": ["search", "build", str(out / "gallery"), str(media), "--replace"],
    }[command]
    job = functools.partial(run_command, [*goal, f"--model={bundle_folder}"])
    check(Trial(job, out, tmp_path), 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ablate", "compare_methods"])
def test_grids(name, tmp_path):
    """Trainings that outlive the command that started them are waited for."""
    if name == "ablate":
        job = script(recipe(name, write_ablation(tmp_path), "--grids=parts")[1:])
    else:
        job = script(recipe(name, write_comparison(tmp_path))[1:])
    check(Trial(job, tmp_path / "out", tmp_path))
