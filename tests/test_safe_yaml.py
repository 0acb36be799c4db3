"""Model YAMLs from strangers: what belongs to a model is made, anything else is refused unrun."""

import time

import pytest
import torch
import yaml
from hyperpyyaml import load_hyperpyyaml

from speechbrain_fv.bundles.export import _selection
from speechbrain_fv.bundles.safe_yaml import MAX_CHARACTERS, check_model_yaml, construct
from speechbrain_fv.cli import resolve_hparams
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
    text = published(f"--voice=!include:voice/{voice}.yaml")
    root = check_model_yaml(text, "model.yaml")
    sketch = construct(root, "model.yaml", "meta")["modules"]
    made = construct(root, "model.yaml")["modules"]
    for name, module in made.items():
        shapes = {key: value.shape for key, value in module.state_dict().items()}
        assert shapes == {key: value.shape for key, value in sketch[name].state_dict().items()}
        assert all(value.device.type == "meta" for value in sketch[name].parameters())


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
    "by name": "!apply:timm.create_model [resnet10t, true]",
    "checkpoint": "!apply:speechbrain_fv.encoders.timm_network {{model: resnet10t, checkpoint: x}}",
    "__main__": "!new:speechbrain_fv.commands.__main__.Encoder {{}}",
    "CTCDecoder": "!new:torchaudio.models.decoder.CTCDecoder {{}}",
    "EmbeddingReader": "!new:speechbrain_fv.readers.EmbeddingReader {{path: x}}",
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
    ],
)
def test_what_cannot_be_made_is_one_error(text):
    with pytest.raises(ValueError, match=r"^model\.yaml"):
        load(text)


def test_aliases_that_would_grow_without_end_cost_nothing():
    """Every line doubles the one before: 2^40 parts, if they were copied."""
    lines = ["a0: &a0 [1, 1]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    begin = time.perf_counter()
    assert len(load("\n".join(lines))) == 40
    assert time.perf_counter() - begin < 5


def test_a_model_too_large_for_any_machine_is_sketched_without_memory():
    text = "a: !new:torch.nn.Linear {in_features: 100000, out_features: 100000}"
    sketch = construct(check_model_yaml(text, "m"), "m", "meta")["a"]
    assert sketch.weight.shape == torch.Size([10**5, 10**5])
