"""The command line: overrides of entries, of their arguments, and of what an include holds."""

import multiprocessing
import sys

import pytest

from speechbrain_fv.settings.arguments import parse_command_line
from tests.settings_files import load, write, write_files


@pytest.fixture
def files(tmp_path):
    return write_files(tmp_path)


@pytest.fixture
def method(files):
    return files / "user" / "method.yaml"


def parse(*argv):
    path, run_opts, overrides = parse_command_line([*argv])
    return path, run_opts, {name: override.value for name, override in overrides.items()}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--note=a=b"], {"note": "a=b"}),
        (["--note", "a=b"], {"note": "a=b"}),
        (["--note=--x=1"], {"note": "--x=1"}),
        (['--base=["--lr=0.1", "--face={a: b=c}"]'], {"base": ["--lr=0.1", "--face={a: b=c}"]}),
        (["--lr", "0.1", "--flag"], {"lr": 0.1, "flag": None}),
        (["--flag="], {"flag": None}),
        (["--lr=-1"], {"lr": -1}),
        (["--lr", "-1"], {"lr": -1}),
        (["--optimizer=adam"], {"optimizer": "adam"}),  # not --optimizer_step_limit
        (["--weights={a: 1, b: [2]}"], {"weights": {"a": 1, "b": [2]}}),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_values_arrive_as_they_were_written(arguments, expected, first):
    if first:
        assert parse("x.yaml", *arguments)[::2] == ("x.yaml", expected)
    elif all("=" in argument for argument in arguments if argument.startswith("--")):
        assert parse(*arguments, "x.yaml")[::2] == ("x.yaml", expected)


def test_run_options_of_speechbrain_are_left_to_it():
    argv = ("--debug", "x.yaml", "--device", "cpu", "--precision=bf16", "--jit_module_keys", "a")
    path, run_opts, overrides = parse(*argv, "b", "--lr=1")
    assert (path, overrides) == ("x.yaml", {"lr": 1})
    assert run_opts["debug"] and run_opts["device"] == "cpu" and run_opts["precision"] == "bf16"
    assert run_opts["jit_module_keys"] == ["a", "b"]
    assert {"debug", "device", "precision", "jit_module_keys"} <= run_opts.overridden_args


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lr=1", "--lr=2"], "--lr: given twice; keep one"),
        (["stray"], r"expected --key=value after x\.yaml, got 'stray'"),
        (["--note=a: b"], "--note: expected a value in YAML, got 'a: b'; quote it"),
        (["--note=[1"], r"--note: expected a value in YAML, got '\[1'"),
        (["--note=1\nother: 2"], "--note: expected a value in YAML"),
        (["--=3"], "expected --key=value, got '--=3'"),
    ],
)
def test_what_is_no_override_is_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        parse("x.yaml", *arguments)


def test_a_plain_mapping_reaches_into_an_include(method):
    """As if it stood in the braces, with those of the YAML, at any depth."""
    hparams, text = load(method, "--corpus={seconds: 3.5, size: 6}")
    assert hparams["corpus"]["reader"].threshold == 3.5 and hparams["first"].in_features == 6
    assert load(method, "--corpus={reader: {value: 1.5}}")[0]["corpus"]["reader"].value == 1.5
    braces = "--corpus=!include:parts/large.yaml {seconds: 3.5, reader: {value: 1.5}}"
    reader = load(method, braces)[0]["corpus"]["reader"]
    assert (reader.threshold, reader.value) == (3.5, 1.5)
    assert "seconds: 3.5" in text


def test_it_is_merged_with_the_braces_that_the_yaml_gives(files):
    text = "--- !include:../shipped/train.yaml\ncorpus: !include:parts/large.yaml {seconds: 3.5}\n"
    path = write(files, "user/braces.yaml", text)
    reader = load(path, "--corpus={reader: {value: 1.5}}")[0]["corpus"]["reader"]
    assert (reader.threshold, reader.value) == (3.5, 1.5)
    assert load(path, "--corpus={seconds: 4}")[0]["corpus"]["reader"].threshold == 4
    assert load(path, "--corpus=!include:parts/small.yaml")[0]["corpus"]["seconds"] == 2.0


def test_a_tagged_entry_in_braces_replaces_the_one_of_the_include(method):
    """hyperpyyaml would give its arguments to the class of the include."""
    other = "--corpus={reader: !new:torch.nn.Softplus {beta: 2}}"
    assert str(load(method, other)[0]["corpus"]["reader"]) == "Softplus(beta=2, threshold=20.0)"
    merged = "--corpus={reader: !ref <loss>}"
    hparams, _ = load(method, merged)
    assert hparams["corpus"]["reader"] is hparams["loss"]


def test_references_of_the_command_line_and_of_braces_are_the_yamls_own(method):
    assert load(method, "--lr=!ref <margin> * 4")[0]["lr"] == 1.0
    hparams, _ = load(method, "--corpus=!include:parts/small.yaml {seconds: !ref <margin>}")
    assert hparams["corpus"]["reader"].threshold == 0.25


def test_includes_are_looked_for_beside_the_yaml_then_beside_its_base(files, method):
    assert load(method, "--corpus=!include:parts/large.yaml")[0]["corpus"]["size"] == 5
    write(files, "user/parts/large.yaml", "--- !include:../../shipped/parts/small.yaml\nsize: 9\n")
    assert load(method, "--corpus=!include:parts/large.yaml")[0]["corpus"]["size"] == 9
    assert load(files / "shipped" / "train.yaml")[0]["corpus"]["size"] == 3
    with pytest.raises(ValueError) as caught:
        load(method, "--corpus=!include:parts/none.yaml")
    for folder in ("user", "shipped"):
        assert f"{files / folder / 'parts' / 'none.yaml'}" in str(caught.value)


def test_the_order_of_keys_and_the_place_of_an_override_stay(method):
    plain, _ = load(method)
    other, _ = load(method, "--loss={margin: 2}", "--seed=8", "--loss_weights={L_b: 1}")
    assert list(plain) == list(other)
    assert other["loss_weights"] == {"L_a": 1.0, "L_b": 1, "L_c": 2.0}


MODULE = """
import torch

class Scaled(torch.nn.Module):
    def __init__(self, scale, *, bias=0.0):
        super().__init__()
        if scale < 0:
            raise ValueError(f"scale: expected at least 0,\\ngot {scale}")
        self.scale, self.bias = scale, bias

def twice(number):
    return 2 * number
"""


def test_a_module_beside_the_yaml_can_be_named_in_it(files):
    write(files, "user/own_losses_here.py", MODULE)
    text = (
        "--- !include:../shipped/train.yaml\n"
        "scale: !apply:own_losses_here.twice [2.0]\n"
        "loss: !new:own_losses_here.Scaled {scale: !ref <scale>}\n"
    )
    path = write(files, "user/own.yaml", text)
    hparams, _ = load(path)
    assert hparams["loss"].scale == 4.0
    for method in ("fork", "spawn"):  # as reading processes are started
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.apply(type(hparams["loss"]), (3,)).scale == 3
    assert sys.path.count(str(files / "user")) == 1
    for override, message in [
        ("{scal: 1}", r"loss: own_losses_here\.Scaled takes no argument 'scal'; did you mean 'sca"),
        ("{scale: -1}", "own.yaml: loss: scale: expected at least 0, got -1"),
        ("!new:own_losses_here.Scale {}", "no such class or function; did you mean 'Scaled'"),
        ("!new:own_losses_here.Scaled", "missing a required argument: 'scale'"),
        ("!new:own_losses_here.twice [1]", "is no class; !apply: calls a function"),
        ("!apply:own_losses_here.Scaled [1]", "is no function; !new: makes an object"),
        ("!new:own_losses_hera.Scaled {scale: 1}", "no module 'own_losses_hera' is installed or"),
        ("!name:own_losses_here.twice {nummer: 1}", "takes no argument 'nummer'; did you mean 'nu"),
    ]:
        with pytest.raises(ValueError, match=message) as caught:
            load(path, f"--loss={override}")
        assert "\n" not in str(caught.value)


def test_a_module_that_cannot_be_imported_is_told(files):
    write(files, "user/own_broken_losses.py", "import torch\nthis is no Python\n")
    with pytest.raises(ValueError, match=r"own_broken_losses\.A cannot be imported: .*SyntaxError"):
        load(files / "user" / "method.yaml", "--loss=!new:own_broken_losses.A")


def test_a_fault_in_a_users_code_keeps_its_traceback(files):
    write(files, "user/own_faulty_losses.py", "def made():\n    unknown()\n")
    with pytest.raises(NameError, match="unknown"):
        load(files / "user" / "method.yaml", "--loss=!apply:own_faulty_losses.made")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--first={in_features: -1}", r"first: .*negative dimension"),
        ("--second={in_features: 1}", r"second: expected a whole entry, as !new:torch.nn.Linear"),
        ("--loss=!new:torch.nn.L1Los", r"loss: !new:torch.nn.L1Los: there is no .* 'L1Loss'"),
        ("--device=cuda:99", "device 'cuda:99' cannot be used"),
    ],
)
def test_what_a_constructor_refuses_names_the_entry(method, override, message):
    with pytest.raises(ValueError, match=message):
        load(method, override)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--precision=fp8", "argument --precision: invalid choice: 'fp8'"),
        ("--ckpt_interval_minutes=0.5", "argument --ckpt_interval_minutes: invalid int value"),
    ],
)
def test_a_wrong_run_option_is_one_line_without_the_usage(option, message, capsys):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        parse_command_line(["method.yaml", option])
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().err == ""
