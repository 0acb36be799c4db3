"""Values of the wrong type or range are told when the YAML is read, in one line each."""

import pytest
from ruamel.yaml import YAML

from speechbrain_fv.settings import reads
from speechbrain_fv.settings.loading import load_hparams, resolve_hparams
from speechbrain_fv.settings.values import RULES, check_value, number, or_null, whole
from tests.paths import HPARAMS
from tests.settings_files import load, write

METHOD = str(HPARAMS / "bipcm_fst.yaml")
SMALL = "--face=!include:face/timm.yaml {model: resnet10t}"

COUNTS = ("batch_size", "number_of_epochs", "patience", "embedding_dim")
COUNTS_OR_0 = ("num_workers", "num_removed_identities", "seed")
WRONG_COUNTS = ("abc", "-4", "1.5", "True", "null", "[3]", "{a: 1}", ".inf", "1e3", "'3'")


@pytest.mark.parametrize(
    "override",
    [
        *[f"--{key}={value}" for key in (*COUNTS, *COUNTS_OR_0) for value in WRONG_COUNTS[:4]],
        *[f"--batch_size={value}" for value in WRONG_COUNTS],
        *[f"--{key}=0" for key in (*COUNTS, "steps_per_epoch", "lr")],
        *[f"--gamma1={value}" for value in ("abc", "-1", ".inf", ".nan", "True", "null", "[1]")],
        *[f"--lr={value}" for value in ("-0.1", "fast", ".inf", "False", "null")],
        "--final_lr=-1",
        *[f"--sampling={value}" for value in ("foo", "Clips", "null", "1")],
        *[f"--draw_figures={value}" for value in ("no", "1", "null")],
        *[f"--num_clusters={value}" for value in ("8", "[]", "[1]", "[8, 8]", "[8.0]", "[a]")],
        *[f"--attributes={value}" for value in ("identity", "[1]", "[a, a]")],
        *[f"--output_folder={value}" for value in ("2024_01_15", "2024-01-15", "7", "true", "")],
        "--output_folder=[a]",
        "--manifest_folder=3",
        "--ckpt_interval_minutes=-1",
        "--corpus={lr: 0}",
        "--corpus={clip_seconds: 0}",
        "--corpus={dropout: 1}",
        "--corpus=!include:corpora/own_data.yaml {clips_csv: 3}",
        "--corpus=!include:corpora/own_data.yaml {clips_csv: a.csv, max_excluded_share: 2}",
        "--corpus=!include:corpora/own_data.yaml {clips_csv: a.csv, vad: 1}",
    ],
)
def test_wrong_values_are_told_with_key_and_value(override):
    if override.startswith("--ckpt"):  # SpeechBrain's own option takes it from the command line
        with pytest.raises(ValueError, match="ckpt_interval_minutes: expected a number of"):
            check_value(("ckpt_interval_minutes",), -1)
        return
    with pytest.raises(ValueError, match=r"bipcm_fst\.yaml: \S+: expected .*, got ") as caught:
        resolve_hparams([METHOD, override], reads.TRAIN)
    message = str(caught.value)
    assert "\n" not in message
    assert override[2:].split("=")[0] in message


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("--lr=1e-3", 0.001),
        ("--lr=1.0e-3", 0.001),
        ("--lr='1e-3'", 0.001),
        ("--lr=1", 1),
        ("--final_lr=0", 0),
        ("--gamma1=0", 0),
        ("--gamma1=1e2", 100.0),
        ("--steps_per_epoch=null", None),
        ("--steps_per_epoch=", None),
        ("--num_workers=0", 0),
        ("--sampling=clips", "clips"),
        ("--num_clusters=[64, 2]", [64, 2]),
        ("--draw_figures=False", False),
        ("--draw_figures=false", False),
        ("--batch_size=1_000", 1000),
        ("--output_folder=./2024_01_15", "./2024_01_15"),
        ("--output_folder='2024_01_15'", "2024_01_15"),
        ('--output_folder="2024-01-15"', "2024-01-15"),
        ("--output_folder=a=b c", "a=b c"),
    ],
)
def test_right_values_arrive(override, value, tmp_path):
    options = [override, SMALL]
    if "output_folder" not in override:
        options.append(f"--output_folder={tmp_path}")
    _, hparams, text = load_hparams([METHOD, *options], reads.TRAIN)
    name = override[2:].split("=")[0]
    assert hparams[name] == value and type(hparams[name]) is type(value)
    if name == "output_folder":
        assert hparams["save_folder"] == f"{value}/save"
    safe = YAML(typ="safe", pure=True)
    safe.version = (1, 1)  # as PyYAML reads, for which 1e-3 is a text
    plain = "".join(line + "\n" for line in text.splitlines() if line.startswith(f"{name}:"))
    if not isinstance(value, list):
        assert safe.load(plain) == {name: value}


def test_a_name_of_digits_is_told_as_it_was_written():
    with pytest.raises(ValueError) as caught:
        resolve_hparams([METHOD, "--output_folder=2024_01_15"])
    assert "got 2024_01_15, which YAML takes for 20240115; write ./2024_01_15, or" in str(
        caught.value
    )


def test_values_in_files_and_through_references_are_checked(tmp_path):
    path = write(tmp_path, "a.yaml", "half: 0.5\nbatch_size: !ref <half> * 3\n")
    with pytest.raises(ValueError, match=r"batch_size: expected a whole number .* got 1\.5"):
        load(path, reads=("batch_size",))
    path = write(tmp_path, "a.yaml", "ckpt_interval_minutes: soon\n")
    with pytest.raises(ValueError, match="ckpt_interval_minutes: expected a number"):
        load(path, reads=())


def test_a_missing_key_and_the_value_of_a_call_are_not_checked(tmp_path):
    path = write(tmp_path, "a.yaml", "lr: !apply:math.sqrt [4.0]\nother: -4\n")
    hparams, _ = load(path, reads=("lr", "other"))
    assert hparams == {"lr": 2.0, "other": -4}


def test_a_module_may_add_a_rule(tmp_path, monkeypatch):
    monkeypatch.setitem(RULES, "my_margin", or_null(number(above=0, most=1)))
    path = write(tmp_path, "a.yaml", "my_margin: 2\n")
    message = "my_margin: expected a number above 0 and at most 1, or null, got 2"
    with pytest.raises(ValueError, match=message):
        load(path, reads=("my_margin",))
    assert load(path, "--my_margin=null", reads=("my_margin",))[0] == {"my_margin": None}


def test_a_division_by_a_wrong_zero_names_the_zero():
    """lr_schedule divides by lr."""
    with pytest.raises(ValueError, match="lr: expected a number above 0, got 0"):
        load_hparams([METHOD, "--lr=0"], reads.TRAIN)


def test_every_rule_says_what_it_takes():
    for rule in {*RULES.values(), whole(3)}:
        assert rule.expected and not rule.accepts(object()) and "  " not in rule.expected
        assert not rule.accepts([None])
