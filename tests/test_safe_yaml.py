"""Model YAMLs from strangers: what belongs to a model is made, anything else is refused unrun."""

import contextlib
import importlib
import inspect
import pkgutil
import re
import resource
import time

import pytest
import torch
import yaml
from hyperpyyaml import load_hyperpyyaml

from speechbrain_fv.bundles.safe_yaml import (
    FETCHING,
    MAX_CHARACTERS,
    PACKAGES,
    _is_module_of_ours,
    check_model_yaml,
    construct,
)
from speechbrain_fv.bundles.sketch import sketching
from speechbrain_fv.publish.export import _selection
from speechbrain_fv.settings.loading import resolve_hparams
from tests.paths import HPARAMS


def load(text):
    return construct(check_model_yaml(text, "model.yaml"), "model.yaml")


def published(*overrides):
    """The YAML that an export of a training with these overrides would write."""
    _, text = resolve_hparams([str(HPARAMS / "bipcm_fst.yaml"), *overrides])
    parts = {key.value: value for key, value in yaml.compose(text, yaml.SafeLoader).value}
    parts["corpus"] = {key.value: value for key, value in parts["corpus"].value}
    return yaml.serialize(_selection(parts))


def test_parts_are_made_as_hyperpyyaml_makes_them():
    text = published()
    ours, theirs = load(text), load_hyperpyyaml(text)
    assert ours.keys() == theirs.keys()
    for name, module in theirs["modules"].items():
        assert str(ours["modules"][name]) == str(module)
        assert ours["modules"][name] is ours[name]
    assert ours["voice_reader"].num_samples == theirs["voice_reader"].num_samples


@pytest.mark.parametrize("voice", ["dimnet", "ecapa", "resnet", "xvector"])
def test_every_voice_branch_can_be_published(voice):
    published_and_sketched(f"--voice=!include:voice/{voice}.yaml")


@pytest.mark.parametrize("voice", ["wav2vec2", "wavlm"])
def test_voice_branches_of_transformers_can_be_published(voice, tiny_transformers, tmp_path):
    options = f"source: {tiny_transformers[voice]}, network_dim: 16, cache_folder: {tmp_path}"
    published_and_sketched(f"--voice=!include:voice/{voice}.yaml {{{options}}}")


def published_and_sketched(override):
    text = published(override)
    root = check_model_yaml(text, "model.yaml")
    with sketching(10**8):
        sketched = construct(root, "model.yaml")["modules"]
    made = construct(root, "model.yaml")["modules"]
    for name, module in made.items():
        shapes = {key: value.shape for key, value in module.state_dict().items()}
        assert shapes == {key: value.shape for key, value in sketched[name].state_dict().items()}
        real = [value for value in sketched[name].parameters() if value.device.type != "meta"]
        assert sum(value.numel() for value in real) <= 16  # transformers' torch.Tensor(hidden_size)


@pytest.mark.parametrize(
    "word", ["seed", "lr", "loss", "optim", "epoch", "batch", "prepare", "sav"]
)
def test_nothing_of_the_training_is_published(word):
    keys = {line.split(":")[0].strip() for line in published().splitlines()}
    assert not [key for key in keys if word in key]


def test_arithmetic_of_numbers_is_allowed():
    text = "a: !apply:operator.floordiv [7, 2]\nb: !apply:operator.mul [2, 1.5]"
    assert load(text) == {"a": 3, "b": 3.0}


HOSTILE = {
    "!apply:os.system": "!apply:os.system ['touch {mark}']",
    "!new:subprocess.Popen": "!new:subprocess.Popen {{args: [touch, '{mark}']}}",
    "!name:os.system": "!name:os.system",
    "!module:os": "!module:os ''",
    "!applyref:os.system": "!applyref:os.system ['touch {mark}']",
    "python/object/apply:os.system": "!!python/object/apply:os.system ['touch {mark}']",
    "python/object/new": "!!python/object/new:os.system ['touch {mark}']",
    "!tuple": '!tuple (!!python/object/apply:os.system ["touch {mark}"])',
    "(!!python": '(!!python/object/apply:os.system ["touch {mark}"])',
    "!ref": "!ref <model.__class__>",
    "!include:": "!include:/etc/passwd",
    "torch.load": "!apply:torch.load [weights]",
    "torch.hub.load": "!apply:torch.hub.load {{repo_or_dir: stranger}}",
    "run_shell": "!apply:speechbrain.utils.superpowers.run_shell ['touch {mark}']",
    "import_from_path": "!apply:speechbrain.utils.superpowers.import_from_path [x]",
    "from_hparams": "!apply:speechbrain.inference.interfaces.Pretrained.from_hparams [x]",
    "torch.nn.modules.sys.exit": "!apply:torch.nn.modules.sys.exit [1]",
    "functional.os.system": "!new:torch.nn.functional.os.system ['touch {mark}']",
    "pickle.Unpickler": "!new:speechbrain.processing.PLDA_LDA.pickle.Unpickler {{}}",
    "partial": "!new:torch.nn.init.functools.partial {{}}",
    "PLDA_LDA.Ndx": "!new:speechbrain.processing.PLDA_LDA.Ndx {{ndx_file_name: x}}",
    "hf-hub": "!apply:timm.create_model {{model_name: 'hf-hub:stranger/model'}}",
    "pretrained": "!apply:timm.create_model {{model_name: resnet10t, pretrained: true}}",
    "pretrained would": "!apply:timm.create_model {{model_name: resnet10t, pretrained: 'false'}}",
    "pretrained would read": "!new:speechbrain_fv.encoders.VoiceEncoder {{pretrained: !!str null}}",
    "checkpoint would": "!apply:speechbrain_fv.encoders.timm_network {{checkpoint: '~'}}",
    "load_pretrained would": "!new:speechbrain.lobes.models.discrete.dac.DAC "
    "{{load_pretrained: !new:torch.nn.ReLU ''}}",
    "pretrained_path would": "!new:torch.nn.ReLU {{pretrained_path: model.pt}}",  # as fairseq's
    "modules.ParameterDict": "!new:torch.nn.modules.ParameterDict {{parameters: {{_modules: 5}}}}",
    "by name": "!apply:timm.create_model [resnet10t, true]",
    "checkpoint": "!apply:speechbrain_fv.encoders.timm_network {{model: resnet10t, checkpoint: x}}",
    "__main__": "!new:speechbrain_fv.commands.__main__.Encoder {{}}",
    "ckp_path": "!new:speechbrain.lobes.models.beats.BEATs {{ckp_path: model.pt}}",
    "load_pretrained": "!new:speechbrain.lobes.models.discrete.dac.DAC {{load_pretrained: true}}",
    "CTCDecoder": "!new:torchaudio.models.decoder.CTCDecoder {{}}",
    "EmbeddingReader": "!new:speechbrain_fv.data.readers.EmbeddingReader {{path: x}}",
    "10000000000": "!new:torch.nn.Linear {{in_features: 10000000000, out_features: 1}}",
    "inf": ".inf",
    "merge": "{{<<: {{x: 1}}}}",
    "plain text": "{{[1, 2]: x}}",
    "binary": "!!binary aGVsbG8=",
    "python/name": "!!python/name:os.system ''",
}


@pytest.mark.parametrize("named", HOSTILE)
def test_what_is_not_a_model_is_refused_with_line_and_name_and_not_run(named, tmp_path):
    mark = tmp_path / "mark"
    text = "first: 1\n\nhostile: " + HOSTILE[named].format(mark=mark)
    with pytest.raises(ValueError, match=r"model\.yaml, line 3: ") as refusal:
        load(text)
    assert named in str(refusal.value)
    assert not mark.exists()


@pytest.mark.parametrize("empty", ["", "~", "null", "false", "no", "''", "0"])
def test_an_argument_that_would_fetch_may_stand_there_empty(empty):
    check_model_yaml(
        f"a: !apply:timm.create_model {{model_name: x, pretrained: {empty}}}", "model.yaml"
    )


def test_a_tag_spelt_with_a_handle_is_the_same_tag(tmp_path):
    text = "%TAG !x! tag:yaml.org,2002:python/object/apply:os.\n---\na: !x!system [ls]"
    with pytest.raises(ValueError, match=r"line 3: .*os\.system"):
        load(text)


def test_hyperpyyaml_would_run_a_plain_text_in_parentheses(tmp_path):
    """Why the objects are not made by hyperpyyaml: this text has no tag that a check could see."""
    text = f'a: (!!python/object/apply:os.system ["touch {tmp_path / "mark"}"])'
    load_hyperpyyaml(text)
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2]",
        "a: [",
        "a: " + "[" * 3000,
        "\x00",
        "a: &a !new:torch.nn.Sequential [*a]",
        "x" * (MAX_CHARACTERS + 1),
        "a: !new:torch.nn.Linear {in_features: 2}",
        "a: !new:torch.nn.Linear {in_features: -2, out_features: two}",
        "a: !new:torch.nn.NoSuchLayer {}",
        "a: !new:speechbrain.lobes.models.NoSuchModule.Net {}",
        "a: !new:torch.nn.ReLU inplace",
        "a: !apply:operator.mul [abc, 3]",
        "a: !apply:operator.truediv [1, 0]",
        "a: !!bool perhaps",
        "a: !!int ''",
        "a: !!float {b: 1}",
        "a: !!seq b",
        "a: 1\n---\nb: 2",
        "a:\n\tb: 1",
        "a: /" + "x" * 1000,
        "a: 0x" + "f" * 1000,
        "!new:torch.nn.ReLU\ninplace: true",
    ],
)
def test_what_cannot_be_made_is_one_error_of_one_line(text):
    with pytest.raises(ValueError, match=r"^model\.yaml") as refusal:
        load(text)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 700


def doubled(first, later, num_lines=40):
    """A YAML in which every line holds the line before twice."""
    lines = [f"a0: &a0 {first}"]
    return "\n".join(lines + [f"a{n}: &a{n} {later}" % (n - 1, n - 1) for n in range(1, num_lines)])


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ("[1, 1]", "[*a%d, *a%d]"),
        ("!new:torch.nn.ReLU {}", "!new:torch.nn.Sequential [*a%d, *a%d]"),
        ("!apply:operator.mul [99999, 99999]", "!apply:operator.mul [*a%d, *a%d]"),
    ],
)
def test_aliases_that_would_grow_without_end_are_refused_at_once(first, later):
    """2^40 parts: hours for who lists a model's weights, or for the digits of a number."""
    begin = time.perf_counter()
    with pytest.raises(ValueError, match="expected at most 10000 parts, its aliases written out"):
        load(doubled(first, later))
    assert time.perf_counter() - begin < 5


def test_arithmetic_gives_no_larger_numbers_than_are_allowed():
    with pytest.raises(ValueError, match=r"line 1: !apply:operator\.mul: expected a result up to"):
        load("a: !apply:operator.mul [100000, 100000]")


@pytest.mark.parametrize("entry", ["2: x", "? [b]\n: x", "? !!str [b]\n: x", "pretrained: x"])
def test_an_entry_is_refused_with_its_own_line(entry):
    with pytest.raises(ValueError, match=r"^model\.yaml, line 3: "):
        load(f"a: 1\nb: 2\n{entry}")
    with pytest.raises(ValueError, match=r"^model\.yaml, line 3: 'a' stands there twice"):
        load("a: 1\nb: 2\na: 3")


@pytest.mark.parametrize("tag", ["!name:torch.nn.ReLU {inplace: true}", "!new:torch.nn.ReLU x"])
def test_arguments_of_another_kind_are_refused_with_their_line(tag):
    with pytest.raises(ValueError, match=r"line 2: !\w+:torch\.nn\.ReLU takes"):
        load(f"a: 1\nb: {tag}")


def test_what_a_terminal_takes_for_a_command_is_escaped():
    with pytest.raises(ValueError, match=r"!new:\\x1b\[2J is not on the list"):
        load("a: !new:%1b[2J {}")


def test_a_name_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match="line 2: 'in_features' stands there twice"):
        load("a: 1\nb: !new:torch.nn.Linear {in_features: 1, out_features: 1, in_features: 2}")


TOO_MUCH = {
    "linear": "!new:torch.nn.Linear {in_features: 100000, out_features: 100000}",
    "named device": "!new:torch.nn.Linear [100000, 100000, true, cpu]",
    "no weights": "!new:speechbrain.processing.features.DCT {input_size: 100000, n_out: 100000}",
    "dropped": "!new:torchaudio.transforms.Resample {orig_freq: 99991, new_freq: 99989}",
    "many layers": "!new:torchaudio.models.ConvTasNet {msk_num_layers: 99999, msk_num_stacks: 99}",
    "timm": "!apply:timm.create_model {model_name: vit_tiny_patch16_224, depth: 9999}",
}


@pytest.mark.parametrize("named", TOO_MUCH)
def test_what_would_take_all_memory_or_time_is_refused_without_either(named):
    """A device that the YAML names, and windows and tables beside the weights, were once made."""
    root = check_model_yaml(f"a: {TOO_MUCH[named]}", "m")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refusal = pytest.raises(ValueError, match=r"^m: line 1: .* its construction (makes|takes more)")
    with refusal, sketching(10**8):
        construct(root, "m")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10**6  # KiB


def test_layers_without_end_are_refused_however_small_they_are():
    """Ten million layers of twenty weights each: little memory, but hours."""
    sizes = "enc_num_feats: 1, msk_num_feats: 1, msk_num_hidden_feats: 1"
    layers = "msk_num_layers: 99999, msk_num_stacks: 99"
    text = f"a: !new:torchaudio.models.ConvTasNet {{{sizes}, {layers}}}"
    root = check_model_yaml(text, "m")
    refusal = pytest.raises(
        ValueError, match=r"^m: line 1: .* its construction takes more than 1 s"
    )
    with refusal, sketching(10**8, max_seconds=1):
        construct(root, "m")


def test_no_argument_of_an_allowed_class_names_a_file_or_a_download():
    """Some classes of SpeechBrain fetch weights, or read a file: their arguments are refused."""
    suspicious = re.compile(r"path|file|ckp|pretrain|checkpoint|^source$|url|repo|^load|cache")
    harmless = {"checkpoint_name"}  # of what `pretrained` names
    found = set()
    for name in PACKAGES:
        for module in _modules_under(importlib.import_module(name)):
            for part in filter(_is_module_of_ours, vars(module).values()):
                found |= set(inspect.signature(part.__init__).parameters)
    assert {name for name in found if suspicious.search(name)} - harmless <= set(FETCHING)
    assert {"ckp_path", "load_pretrained", "pretrained"} <= found


def _modules_under(package):
    yield package
    for info in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{package.__name__}."):
        with contextlib.suppress(ImportError):
            yield importlib.import_module(info.name)


def test_a_model_too_large_for_any_machine_is_sketched_without_memory():
    text = "a: !new:torch.nn.Linear {in_features: 100000, out_features: 100000}"
    with sketching(10**11):
        made = construct(check_model_yaml(text, "m"), "m")["a"]
    assert made.weight.shape == torch.Size([10**5, 10**5])
