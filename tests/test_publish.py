"""recipes/publish.py: from a training to a model on the hub, and every step at which it stops."""

import os
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from speechbrain_fv.bundles.bundle import model_version
from speechbrain_fv.bundles.layout import FILES
from speechbrain_fv.inference import FaceVoiceAssociation
from tests import hub_server
from tests.conftest import train_on_media
from tests.paths import ROOT

TOKEN = "hf_of_the_writer"
SCRIPT = ROOT / "recipes" / "publish.py"


@pytest.fixture(scope="module")
def publish():
    """The script's function of its arguments, in this process, which reaches no hub."""
    return runpy.run_path(str(SCRIPT))["main"]


def test_a_training_becomes_a_model_on_the_hub(media_run, tmp_path):
    folder, seen = tmp_path / "bundle", []
    with hub_server.running(tmp_path / "hub", {TOKEN: True}) as hub:
        hub.watch = lambda method, path: seen.append(sorted(os.listdir(folder)))
        result = subprocess.run(
            [
                *(sys.executable, SCRIPT, media_run, "--repo=owner/small", "--push", "--private"),
                f"--bundle_folder={folder}",
            ],
            capture_output=True,
            text=True,
            env={
                **{key: value for key, value in os.environ.items() if not key.startswith("HF_")},
                "HF_ENDPOINT": hub.url,
                "HF_HOME": str(tmp_path / "home"),
                "HF_HUB_DISABLE_XET": "1",
                "HF_TOKEN": TOKEN,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(ROOT),
            },
            timeout=300,
        )
        assert result.returncode == 0, result.stderr
        repository = hub.repository("owner/small")
        commit = repository.resolve("main")
        published = {name: repository.files(commit)[name].read_bytes() for name in FILES}
    assert seen[0] == sorted(FILES)  # all was built and checked before the hub was asked
    assert published == {name: (folder / name).read_bytes() for name in FILES}
    assert repository.private and TOKEN not in result.stdout + result.stderr
    assert "Loaded again: embeddings differ from the training's by at most" in result.stdout
    assert f"Published: {hub.url}/owner/small/commit/{commit}" in result.stdout
    card = published["README.md"].decode()
    assert f"| Model | {model_version(folder)} |" in card and 'source="owner/small"' in card


def test_what_does_not_load_as_trained_is_no_bundle(publish, media_run, tmp_path):
    """A training whose test embeddings are of other weights than its checkpoint's."""
    run, folder = tmp_path / "run", tmp_path / "bundle"
    shutil.copytree(media_run, run)
    shutil.copy(run / "embeddings_untrained.npz", run / "embeddings_test.npz")
    folder.mkdir()
    (folder / "README.md").write_text("of an earlier bundle")
    with pytest.raises(ValueError, match="differ from those of the training"):
        publish([str(run), "--repo=owner/small", f"--bundle_folder={folder}", "--push"])
    assert os.listdir(folder) == ["README.md"]
    assert (folder / "README.md").read_text() == "of an earlier bundle"


def test_a_killed_run_leaves_nothing_that_loads(publish, media_run, tmp_path):
    folder = tmp_path / "bundle"
    options = [str(media_run), "--repo=owner/small", f"--bundle_folder={folder}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, SCRIPT, *options], env=environment)
    while not (folder / ".partial" / "README.md").exists():  # all is written, nothing checked
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert sorted(os.listdir(folder)) == [".partial", ".running"]
    with pytest.raises(ValueError, match="expected a bundle"):
        FaceVoiceAssociation.from_hparams(folder)
    publish(options)
    assert sorted(os.listdir(folder)) == sorted(FILES)


def test_a_move_that_fails_leaves_nothing_that_loads(
    publish, media_run, bundle_folder, tmp_path, monkeypatch
):
    """The disk fails at the fifth of six files: an earlier bundle is no mixture of both."""
    folder, moved, replace = tmp_path / "bundle", [], os.replace
    shutil.copytree(bundle_folder, folder)

    def fail(source, target):
        if Path(target).parent == folder:
            moved.append(Path(target).name)
            if len(moved) == 5:
                raise OSError("the disk fails")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="the disk fails"):
        publish([str(media_run), "--repo=owner/small", f"--bundle_folder={folder}"])
    assert (
        sorted([*moved, "config.json"])
        == sorted(FILES)
        == sorted({*os.listdir(folder), "config.json"})
    )
    assert not (folder / "config.json").exists()


def test_a_voice_branch_of_transformers_is_published_without_its_source(
    publish, tiny_transformers, tmp_path, capsys
):
    source = shutil.copytree(tiny_transformers["wavlm"], tmp_path / "source")
    voice = f"{{source: {source}, network_dim: 16, cache_folder: {tmp_path}}}"
    run = train_on_media(tmp_path, f"--voice=!include:voice/wavlm.yaml {voice}")
    publish([str(run), "--repo=owner/small", "--license=mit"])
    assert "Loaded again" in capsys.readouterr().out
    shutil.rmtree(source)
    model = FaceVoiceAssociation.from_hparams(run / "bundle")
    assert model.encode_voice(torch.randn(1, 16000)).shape == (1, 256)
    assert str(tmp_path) not in (run / "bundle" / "hyperparams.yaml").read_text()
    with pytest.raises(ValueError, match="publish where the training ran"):
        publish([str(run), "--repo=owner/small", "--license=mit"])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--repo=name"], "expected one, or owner/name of a model on the hub"),
        (["--repo=a/b", "--license=<b>"], "--license: expected a short name"),
        (["--repo=a/b", "--bundle_folder={run}"], "expected another folder than the training's"),
    ],
)
def test_mistakes_are_found_before_the_work(publish, media_run, options, reason):
    before = sorted(os.listdir(media_run))
    with pytest.raises(ValueError, match=reason):
        publish([str(media_run), *(option.format(run=media_run) for option in options)])
    assert sorted(os.listdir(media_run)) == before


def test_a_folder_without_a_training(publish, tmp_path):
    with pytest.raises(ValueError, match=r"there is no preparation\.json"):
        publish([str(tmp_path), "--repo=owner/name"])


def test_options_are_explained(publish, capsys):
    with pytest.raises(SystemExit) as left:
        publish(["--help"])
    assert left.value.code == 0 and "--bundle_folder" in capsys.readouterr().out
    with pytest.raises(ValueError, match="arguments are required: --repo"):
        publish(["results"])
