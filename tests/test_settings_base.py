"""A YAML on a base: the flattened file is what one would have written by hand."""

import io
import random

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from hyperpyyaml.core import recursive_update
from ruamel.yaml import YAML

from speechbrain_fv.settings.documents import RECORD_HEADER, dump_yaml, read_document
from speechbrain_fv.settings.merging import merge
from tests.settings_files import load, write, write_files


@pytest.fixture
def files(tmp_path):
    return write_files(tmp_path)


def plain(value):
    """Settings as plain values: modules by type, options and weights."""
    if isinstance(value, torch.nn.Module):
        return str(value), {key: tensor.tolist() for key, tensor in value.state_dict().items()}
    if isinstance(value, dict):
        return {key: plain(child) for key, child in value.items()}
    return [plain(child) for child in value] if isinstance(value, list) else value


def test_a_method_on_its_base_is_the_file_written_by_hand(files):
    """Values and initial weights, also when plain hyperpyyaml reads the record of the run."""
    with open(files / "shipped" / "whole.yaml", encoding="utf-8") as file:
        expected = load_hyperpyyaml(file)
    hparams, text = load(files / "user" / "method.yaml")
    assert plain(hparams) == plain(expected)
    assert list(hparams) == list(expected)
    assert plain(load_hyperpyyaml(text)) == plain(expected)
    assert "!ref" not in text and "!include" not in text
    assert hparams["modules"]["extra"] is hparams["extra"]


def test_another_seed_gives_other_weights(files):
    first, second = (
        load(files / "user" / "method.yaml", f"--seed={seed}")[0]["first"].weight for seed in (1, 2)
    )
    assert not torch.equal(first, second)


def test_new_keys_stand_before_the_next_key_of_the_base_and_comments_survive(files):
    _, text = load(files / "user" / "method.yaml")
    keys = [line.split(":")[0] for line in text.splitlines() if line and line[0].isalpha()]
    assert keys.index("margin") == keys.index("loss") - 1
    assert keys.index("extra") == keys.index("modules") - 1
    assert keys[-1] == "last"
    assert text.startswith(f"{RECORD_HEADER}# The method.\n#   how to start it\n\nseed: 7\n")
    assert "The base" not in text
    assert "# Model\nwidth: 4" in text and "margin: 0.25   # new" in text


def test_bases_have_bases(files):
    path = write(files, "user/deep/top.yaml", "--- !include:../method.yaml\nmargin: 0.75\n")
    hparams, text = load(path)
    assert (hparams["margin"], hparams["last"], hparams["lr"]) == (0.75, 1.5, 0.5)
    assert hparams["loss"].margin == 0.75
    assert hparams["corpus"]["size"] == 3  # beside the base of the base
    assert "how to start it" not in text


def test_a_base_without_changes_is_the_base(files):
    path = write(files, "user/bare.yaml", f"--- !include:{files}/shipped/train.yaml\n")
    assert plain(load(path)[0]) == plain(load(files / "shipped" / "train.yaml")[0])


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("loss: {reduction: sum}", "CrossEntropyLoss()"),  # the tag stays
        ("loss: !new:torch.nn.L1Loss {reduction: sum}", "L1Loss()"),
        ("loss: !new:torch.nn.L1Loss", "L1Loss()"),
        ("loss: null", "None"),
        ("loss: [1, 2]", "[1, 2]"),
        ("loss: 3", "3"),
        ("loss: {}", "CrossEntropyLoss()"),
    ],
)
def test_a_mapping_merges_and_anything_else_replaces(files, own, expected):
    hparams, _ = load(write(files, "user/own.yaml", f"--- !include:../shipped/train.yaml\n{own}\n"))
    assert str(hparams["loss"]) == expected
    reduction = getattr(hparams["loss"], "reduction", None)
    assert reduction == ("sum" if "sum" in own else reduction)
    smoothing = getattr(hparams["loss"], "label_smoothing", None)
    assert smoothing == (0.1 if expected.startswith("Cross") else None)


def random_tree(rng, depth):
    names = rng.sample("abcdefg", rng.randint(1, 5))
    return {
        # "a" and "b" are mappings wherever they are: hyperpyyaml cannot merge one into a number.
        name: (random_tree(rng, depth - 1) if name in "ab" else rng.choice([1, "x", None, [1, 2]]))
        for name in names
        if depth or name not in "ab"
    }


@pytest.mark.parametrize("seed", range(40))
def test_plain_entries_merge_as_overrides_of_hyperpyyaml(seed):
    rng = random.Random(seed)
    tree, own = (dump_yaml(random_tree(rng, 2)) for _ in range(2))
    ours, theirs, entries = YAML().load(tree), YAML().load(tree), YAML().load(own)
    merge(ours, entries)
    recursive_update(theirs, YAML().load(own))
    assert plain(ours) == plain(theirs)
    before, order = list(YAML().load(tree)), list(ours)
    assert [key for key in order if key in before] == before
    for index, key in enumerate(entries):
        if key not in before:  # only new keys between it and the next key that is not new
            follower = next((name for name in list(entries)[index:] if name in before), None)
            end = order.index(follower) if follower else len(order)
            assert not set(order[order.index(key) : end]) & set(before)


def test_an_include_may_stand_on_a_base_and_within_a_list(files):
    path = write(files, "user/part.yaml", "--- !include:../shipped/parts/large.yaml\nseconds: 9\n")
    hparams, _ = load(files / "user" / "method.yaml", "--corpus=!include:part.yaml")
    assert hparams["corpus"]["reader"].threshold == 9
    assert hparams["first"].in_features == 5
    text = f"parts:\n  - !include:{path}\n  - !include:../shipped/parts/small.yaml\n"
    hparams, record = load(write(files, "user/list.yaml", text), reads=("parts",))
    assert [part["size"] for part in hparams["parts"]] == [5, 3]
    assert plain(load_hyperpyyaml(record)) == plain(hparams)


def test_anchors_of_one_name_in_two_files_stay_apart(files):
    write(files, "user/part.yaml", "a: &x [1]\nb: *x\nc: &y 3\nd: *y\n")
    text = (
        "a: &x {k: 2}\ny: &y 5\npart: !include:part.yaml\nb: *x\nc: {<<: *x, l: 3}\nd: *y\n"
        "other: !include:part.yaml {c: 4}\n"
    )
    path = write(files, "user/anchors.yaml", text)
    hparams, record = load(path, reads=("a", "y", "part", "b", "c", "d", "other"))
    part = {"a": [1], "b": [1], "c": 3, "d": 3}
    expected = {"a": {"k": 2}, "y": 5, "part": part, "b": {"k": 2}, "c": {"k": 2, "l": 3}, "d": 5}
    assert hparams == {**expected, "other": {**part, "c": 4}}
    assert load_hyperpyyaml(record) == hparams


def test_an_include_in_a_flow_list_survives_its_comments(files):
    write(files, "user/noted.yaml", "size: 3  # a note\n# between\nname: x\n")
    override = "--parts=[!include:noted.yaml {size: 4}, !include:noted.yaml {}]"
    path = write(files, "user/list.yaml", "parts: null\n")
    hparams, record = load(path, override, reads=("parts",))
    assert [part["size"] for part in hparams["parts"]] == [4, 3]
    assert load_hyperpyyaml(record) == hparams


def test_a_record_runs_again_and_takes_no_overrides(files):
    hparams, text = load(files / "user" / "method.yaml", "--seed=3")
    path = write(files, "run/hyperparams.yaml", text)
    again, same_text = load(path)
    assert plain(again) == plain(hparams)
    assert same_text == text
    with pytest.raises(ValueError, match=r"--seed: expected no overrides of a run's record"):
        load(path, "--seed=4")


def test_references_may_name_what_stands_later(files):
    """hyperpyyaml leaves `!ref <second>` in place when `second` is itself a reference."""
    text = "first: !ref <second> + 1\nsecond: !ref <part[third]>\npart: !include:third.yaml\n"
    write(files, "user/third.yaml", "fourth: 4\nthird: !ref <fourth>\n")
    hparams, _ = load(write(files, "user/later.yaml", text), reads=("first",))
    assert hparams["first"] == 5


def test_copies_attributes_and_functions_of_references_work_as_in_hyperpyyaml(files):
    text = (
        "layer: !new:torch.nn.Linear [2, 3]\nshared: !ref <layer>\nother: !copy <layer>\n"
        "width: !ref <layer.out_features>\ntotal: !applyref:sum\n    - [1, !ref <three>]\n"
        "three: 3\n"
    )
    expected = load_hyperpyyaml(io.StringIO(text.replace("!ref <three>", "3")))
    reads = ("layer", "shared", "other", "width", "total")
    hparams, _ = load(write(files, "user/references.yaml", text), reads=reads)
    for settings in (hparams, expected):
        assert settings["shared"] is settings["layer"] is not settings["other"]
        assert (settings["width"], settings["total"]) == (3, 4)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"a": "--- !include:no.yaml\nx: 1"}, r"a\.yaml: its base .*user/no\.yaml was not found"),
        ({"a": "--- !include:a.yaml\nx: 1"}, r"a\.yaml: is its own base"),
        (
            {"a": "--- !include:b.yaml\nx: 1", "b": "--- !include:a.yaml\nx: 1"},
            r"a\.yaml: is its own base, by way of .*a\.yaml, .*b\.yaml; break the circle",
        ),
        ({"a": "--- !include:b.yaml\nx: 1", "b": "[1]"}, r"b\.yaml: expected a mapping .*a\.yaml"),
        ({"a": "--- !include:b.yaml\nx: 1", "b": "x: ["}, r"b\.yaml, line \d: cannot be read as"),
        ({"a": "--- !include:b.yaml {x: 2}\ny: 1", "b": "x: 1"}, r"line 2: .*takes no braces"),
        ({"a": "--- !include:b.yaml\n[1]", "b": "x: 1"}, r"a\.yaml: expected a mapping of keys on"),
        ({"a": "--- !new:dict\nx: 1"}, r"a\.yaml: expected a mapping .* got the tag !new:dict"),
        ({"a": "x: 1\nx: 2"}, r"a\.yaml, line 2: cannot be read as YAML \(found duplicate key"),
        ({"a": "[1, 2]"}, r"a\.yaml: expected a mapping of keys"),
        ({"a": ""}, r"a\.yaml: expected a mapping of keys"),
        ({"a": "x: !include:a.yaml"}, r"a\.yaml: x: .*a\.yaml includes itself"),
        (
            {"a": "x: !include:b.yaml", "b": "y: !include:a.yaml"},
            r"b\.yaml: x\[y\]: .*a\.yaml includes itself",
        ),
        (
            {"a": "x: !include:no.yaml"},
            r"x: !include:no\.yaml was not found; tried .*user/no\.yaml",
        ),
        ({"a": "x: !include:b.yaml {y: 1}", "b": "[1]"}, r"x: .*b\.yaml has no keys"),
        ({"a": "x: !ref <y>\ny: !ref <x>"}, r"refers to itself; break the circle"),
        ({"a": "x: !ref <yy>\ny: 1"}, r"x: !ref <yy> names no key 'yy'; did you mean 'y'"),
        ({"a": "x: !ref <y[z]>\ny: {zz: 1}"}, r"names no key 'z'; did you mean 'zz'"),
        ({"a": "x: !ref <y> / 0\ny: 1"}, r"x: !ref <y> / 0 cannot be computed"),
        ({"a": "x: !PLACEHOLDER"}, r"'x' is a !PLACEHOLDER and must be replaced, as by --x=\.\.\."),
        ({"a": "x: !include:b.yaml", "b": "y: !PLACEHOLDER"}, r"as by --x='\{y: \.\.\.\}'"),
    ],
)
def test_mistakes_are_told_in_one_line_that_names_the_file(tmp_path, texts, message):
    for name, text in texts.items():
        write(tmp_path, f"user/{name}.yaml", text)
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path / "user" / "a.yaml", reads=("x",))
    assert "\n" not in str(caught.value)


def test_a_missing_yaml_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.yaml: not found"):
        load(tmp_path / "nowhere.yaml")
    with pytest.raises(ValueError, match="cannot be read"):
        read_document(tmp_path)
