"""What pip installs: YAMLs and scripts in the wheel, and the commands that use them anywhere."""

import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser

import pytest

import speechbrain_fv
from speechbrain_fv.commands import main
from speechbrain_fv.commands.arguments import RECIPES
from speechbrain_fv.settings.documents import read_document
from speechbrain_fv.settings.loading import resolve_hparams
from tests.paths import HPARAMS, ROOT
from tests.processes import run_forked
from tests.small_runs import OPTIONS, write_corpus

COMMAND = str(ROOT / "speechbrain_fv" / "commands" / "__main__.py")
BUILT = {"build", "dist", "data", "results", ".git", ".venv"}  # what no repository holds


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of a wheel and of a source distribution, built of a copy of the repository."""
    source, folder = tmp_path_factory.mktemp("source") / "copy", tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT, source, ignore=lambda at, _: BUILT if at == str(ROOT) else ())
    code = (
        "import setuptools.build_meta as backend\n"
        f"backend.build_sdist({str(folder)!r})\nbackend.build_wheel({str(folder)!r})"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_wheel_holds_all_that_its_commands_need(built, tmp_path):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        wheel.extractall(tmp_path)
    yamls = {f"speechbrain_fv/{path.relative_to(ROOT)}" for path in HPARAMS.rglob("*.yaml")}
    scripts = {f"speechbrain_fv/recipes/{name}.py" for name in RECIPES}
    assert yamls | scripts | {"speechbrain_fv/py.typed", "speechbrain_fv/publish/card.md"} <= names
    assert not [name for name in names if "benchmark" in name or name.startswith("tests")]
    # Out of the repository the package finds its own.
    shipped = runpy.run_path(str(tmp_path / "speechbrain_fv" / "shipped.py"))
    assert shipped["shipped"]("hparams") == tmp_path / "speechbrain_fv" / "hparams"
    assert shipped["shipped_yaml"]("face/timm.yaml").startswith(str(tmp_path))


def test_the_metadata_is_what_an_index_shows(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
        metadata = Parser().parsestr(wheel.read(name).decode())
    assert metadata["Version"] == speechbrain_fv.__version__
    assert metadata["Author"] and metadata["Home-page"].startswith("https://")
    for python in ("3.10", "3.11", "3.12", "3.13"):
        assert f"Programming Language :: Python :: {python}" in metadata.get_all("Classifier")
    links = re.findall(r"\]\(([^)]*)\)", metadata.get_payload())
    assert len(links) > 5 and all(link.startswith("https://") for link in links)
    required = metadata.get_all("Requires-Dist")
    assert not [line for line in required if line.startswith("torch") and "==" in line]


def test_the_source_distribution_is_the_repository(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a clone")
    assert set(listed.stdout.splitlines()) - names == {".gitignore"}


def test_a_shipped_yaml_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--output_folder=run"]
    _, text = resolve_hparams([str(HPARAMS / "bipcm_fst.yaml"), *options])
    for name in ("bipcm_fst.yaml", "hparams/bipcm_fst.yaml"):
        assert resolve_hparams([name, *options])[1] == text
    (tmp_path / "bipcm_fst.yaml").write_text("--- !include:bipcm_plus.yaml\nseed: 9\n")
    assert resolve_hparams(["bipcm_fst.yaml", *options])[0]  # one's own goes before
    assert read_document("bipcm_fst.yaml").tree["method"] == "bipcm_plus"
    with pytest.raises(
        ValueError, match=r"^nowhere\.yaml: not found; shipped are ablations\.yaml, "
    ):
        resolve_hparams(["nowhere.yaml"])
    (tmp_path / "other.yaml").write_text("--- !include:nowhere.yaml\n")
    with pytest.raises(ValueError, match=r"its base .*nowhere\.yaml was not found"):
        resolve_hparams(["other.yaml"])


def test_the_yamls_are_copied_to_be_edited(tmp_path, capsys):
    assert main(["yaml", str(tmp_path / "mine")]) == 0
    assert f"speechbrain-fv train {tmp_path}/mine/bipcm_fst.yaml" in capsys.readouterr().out
    copied = {path.relative_to(tmp_path / "mine"): path.read_text() for path in files(tmp_path)}
    assert copied == {path.relative_to(HPARAMS): path.read_text() for path in files(HPARAMS)}
    assert main(["yaml", str(tmp_path / "mine")]) == 2
    assert main(["yaml", str(tmp_path / "mine" / "cmpc.yaml")]) == 2
    expected = "expected a folder that is new or empty; choose another"
    assert capsys.readouterr().err.count(expected) == 2


def files(folder):
    """The YAMLs below a folder."""
    return folder.rglob("*.yaml")


def test_the_command_trains_as_the_script_does_from_any_folder(tmp_path):
    corpus = write_corpus(tmp_path, clips_each=2)
    options = [corpus, "--num_clusters=[2]", "--steps_per_epoch=2", "--number_of_epochs=1"]
    replaced = tuple(option.partition("=")[0] for option in options)
    options += [option for option in OPTIONS if not option.startswith(replaced)]
    result = run_forked([sys.executable, COMMAND, "train", "bipcm_fst.yaml", *options], tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "results" / "bipcm_fst" / "1234" / "report.json").exists()
    assert "Report, figures and logs: results/bipcm_fst/1234" in result.stdout


def test_a_mistake_of_a_script_is_that_of_its_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["speechbrain-fv"])
    assert main(["train", "nowhere.yaml"]) == 2
    assert capsys.readouterr().err.startswith("error: nowhere.yaml: not found; shipped are ablat")
    assert main(["publish", "nowhere", "--repo=name"]) == 2
    assert "expected one, or owner/name of a model" in capsys.readouterr().err
