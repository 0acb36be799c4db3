"""What every recipe answers to `--help`, `--version`, to nothing, too little, and a wrong path."""

import subprocess
import sys

import pytest
from speechbrain.utils.run_opts import HELP_TEXTS

from speechbrain_fv import __version__
from speechbrain_fv.settings.help import run_option_texts, settings_help
from tests.paths import HPARAMS, ROOT
from tests.processes import recipe, run_forked

RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.py"))
WITH_YAML = {"train", "evaluate", "ablate", "compare_methods"}
WRONG = {
    "compare": ["absent_a", "absent_b"],
    "compare_curves": ["figure", "one=absent"],
    "contact_sheet": ["/dev/null/people.png", "--num_identities=1"],
    "benchmark": ["absent"],
    "publish": ["absent", "--repo=owner/name"],
}
"""Arguments that name what is not there; others take the one word "absent"."""


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_answers(name, tmp_path):
    first = (ROOT / "recipes" / f"{name}.py").read_text().split('"""')[1].splitlines()[0]
    told = run_forked(recipe(name, "--help"), tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    assert first in told.stdout and f"python recipes/{name}.py " in told.stdout
    if name in WITH_YAML:
        assert "each an option --key=value" in told.stdout
    assert run_forked(recipe(name, "--version")).stdout == f"speechbrain-fv {__version__}\n"
    mistakes = [[], ["--absent=1"], WRONG.get(name, ["absent"])]
    if name not in WITH_YAML:
        mistakes.append(["--keys"])  # as of those with a YAML
    for arguments in mistakes:
        result = run_forked(recipe(name, *arguments), tmp_path)
        assert result.returncode == 2, arguments
        assert result.stderr.startswith("error: ") and len(result.stderr.splitlines()) == 1
        assert result.stdout == ""


@pytest.mark.parametrize("name", RECIPES)
def test_help_waits_for_no_heavy_import(name):
    """In a fresh process: --help takes a tenth of a second, importing torch alone takes two."""
    command = [sys.executable, "-X", "importtime", ROOT / "recipes" / f"{name}.py", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.split("|")[-1].strip() for line in told.stderr.splitlines()}
    assert "argparse" in imported and name in told.stdout
    assert not imported & {"torch", "speechbrain", "numpy", "pandas", "matplotlib", "sklearn"}


def test_the_library_is_imported_without_what_its_first_use_needs():
    told = subprocess.run(
        [sys.executable, "-c", "import sys, speechbrain_fv.inference; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(told.stdout.split())
    assert "torch" in imported
    assert not imported & {"torchvision", "timm", "sklearn", "matplotlib", "faiss", "transformers"}


def test_run_options_are_told_in_the_words_of_speechbrain():
    assert run_option_texts() == HELP_TEXTS


def test_keys_have_the_comments_of_their_yaml():
    text = settings_help("usage", [str(HPARAMS / "infonce.yaml"), "--keys"], "bipcm_fst.yaml", [])
    assert "hparams/infonce.yaml" in text and "hparams/train.yaml" in text
    assert f"{'  --num_removed_identities=0':44}training identities left out (Fig. 8)" in text
    assert text.count("--method=") == 1  # not again among those of the base
    for path in HPARAMS.glob("*/*.yaml"):
        assert f"Keys of !include:{path.relative_to(HPARAMS).as_posix()}, in braces:" in text


def test_a_yaml_that_is_missing_names_those_there_are(tmp_path):
    result = run_forked(recipe("train", "bipcm_fts.yaml"), tmp_path)
    assert "bipcm_fts.yaml: not found; did you mean 'bipcm_fst.yaml'?" in result.stderr
    assert "shipped are ablations.yaml, bipcm_fst.yaml, " in result.stderr


def test_a_figure_with_an_ending_keeps_one(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "train_curves.csv").write_text(
        "step,epoch,split,name,value\n20,1,valid,auc_U,0.6\n40,2,valid,auc_U,0.7\n"
    )
    result = run_forked(recipe("compare_curves", "curves.png", "one=run"), tmp_path)
    assert result.returncode == 0, result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"run", "curves.png", "curves.pdf"}
