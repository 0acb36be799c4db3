"""Several corpora as one, and a model that goes on from another: names stay apart and are known."""

import json

import numpy as np
import pandas as pd
import pytest

from speechbrain_fv.corpora.joined import JoinedReader, prepare_joined
from speechbrain_fv.corpora.precomputed import prepare_embeddings
from speechbrain_fv.data.manifests import load_manifests
from speechbrain_fv.data.readers import EmbeddingReader
from speechbrain_fv.protocols.leakage import read_train_identities
from tests.paths import HPARAMS
from tests.processes import recipe, run_forked


def write_corpus(folder, seed, num_people=12):
    """Clips of people p0, p1, ..., the same names in every corpus, and their vectors."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    who = np.repeat(np.arange(num_people), 3)
    names = np.array([f"c{row}" for row in range(len(who))])
    splits = np.array(["train"] * (num_people - 4) + ["valid"] * 2 + ["test"] * 2)
    table = {"clip": names, "identity": [f"p{one}" for one in who], "split": splits[who]}
    table["language"] = ["en", "ur", "de"] * num_people
    pd.DataFrame(table).to_csv(folder / "clips.csv", index=False)
    vectors = rng.normal(size=(num_people, 6))[who] + 0.2 * rng.normal(size=(len(who), 6))
    np.savez(folder / "v.npz", clip=names, face=vectors, voice=vectors[:, :4])
    return folder


def part(folder):
    """What the YAML of a corpus of embeddings makes."""

    def prepare(manifest_folder):
        keys = ("face", "voice")
        prepare_embeddings(manifest_folder, folder / "clips.csv", folder / "v.npz", *keys)

    readers = {
        f"{modality}_reader": EmbeddingReader(folder / "v.npz", "clip", modality)
        for modality in ("face", "voice")
    }
    return {"prepare": prepare, **readers}


def test_people_of_one_name_stay_apart(tmp_path):
    parts = {name: part(write_corpus(tmp_path / name, seed)) for seed, name in enumerate("ab")}
    prepare_joined(tmp_path / "m", parts)
    manifests = load_manifests(tmp_path / "m")
    assert len(manifests.identities) == 24
    faces = manifests.faces["train"]
    assert set(faces.spk_id.str.split("/").str[0]) == set(faces.dataset) == {"a", "b"}
    assert set(faces.language) == {"en", "ur", "de"}
    reader = JoinedReader(parts, "voice_reader")
    for name in "ab":
        expected = parts[name]["voice_reader"]("c4", None)
        assert np.array_equal(reader(f"{name}/c4", None), expected)
    stamp = (tmp_path / "m/preparation.json").stat().st_mtime_ns
    prepare_joined(tmp_path / "m", parts)
    assert (tmp_path / "m/preparation.json").stat().st_mtime_ns == stamp


def test_splits_of_a_corpus_can_be_left_out(tmp_path):
    parts = {name: part(write_corpus(tmp_path / name, seed)) for seed, name in enumerate("ab")}
    prepare_joined(tmp_path / "m", parts, {"a": ["train"]})
    manifests = load_manifests(tmp_path / "m")
    assert set(manifests.faces["train"].dataset) == {"a", "b"}
    assert set(manifests.faces["test"].dataset) == set(manifests.faces["valid"].dataset) == {"b"}


def test_values_are_spelled_alike_in_all_corpora(tmp_path):
    folders = {name: write_corpus(tmp_path / name, seed) for seed, name in enumerate("ab")}
    for name, spelled in (("a", "English"), ("b", " english")):
        table = pd.read_csv(folders[name] / "clips.csv")
        table.assign(language=spelled).to_csv(folders[name] / "clips.csv", index=False)
    prepare_joined(tmp_path / "m", {name: part(folder) for name, folder in folders.items()})
    manifests = load_manifests(tmp_path / "m")
    for tables in (manifests.faces, manifests.voices):
        assert set(pd.concat(tables.values()).language) == {"English"}


@pytest.mark.parametrize(
    ("file", "splits", "message"),
    [
        ("voices_challenge.csv", None, "parts: a: it has clips of a challenge .* test lists out"),
        ("pairs_train.csv", None, "parts: a: it has pairs of a train list .* train lists out"),
        ("pairs_train.csv", {"a": ["valid", "test"], "b": ["train"]}, None),
    ],
)
def test_what_a_joined_corpus_cannot_have_is_refused(tmp_path, file, splits, message):
    parts = {name: part(write_corpus(tmp_path / name, seed)) for seed, name in enumerate("ab")}
    prepare = parts["a"]["prepare"]

    def with_lists(manifest_folder):
        prepare(manifest_folder)
        (manifest_folder / file).write_text("face,voice\n")

    parts["a"]["prepare"] = with_lists
    if message is None:
        prepare_joined(tmp_path / "m", parts, splits)
        return
    with pytest.raises(ValueError, match=message):
        prepare_joined(tmp_path / "m", parts, splits)


class Columns:
    """A reader that returns what it was given."""

    takes = ("wav", "start")

    def __call__(self, wav, start, draw):
        return wav, start, draw


def test_readers_get_their_own_columns():
    parts = {"a": {"voice_reader": Columns()}, "b": {"voice_reader": Columns()}}
    reader = JoinedReader(parts, "voice_reader")
    assert reader.takes == ("ID", "wav", "start")
    assert reader("b/x/y", "f.wav", 7, 5) == ("f.wav", 7, 5)
    assert reader(ID="b/x/y", wav="f.wav", start=7, draw=5) == ("f.wav", 7, 5)
    assert reader(ID="b/x/y", wav="f.wav", start=7) == ("f.wav", 7, None)


@pytest.mark.parametrize(
    ("parts", "splits", "message"),
    [
        ({}, None, "at least one corpus"),
        ({"a/b": {"prepare": print}}, None, "names without '/'"),
        ({"a": "vox"}, None, "expected names without '/' and corpora"),
        (
            {"a": {"prepare": print}},
            {"b": ["train"]},
            "splits: expected some of train, valid, test",
        ),
        ({"a": {"prepare": print}}, {"a": ["dev"]}, r"of a, got a: \['dev'\]"),
    ],
)
def test_faulty_parts_are_refused(tmp_path, parts, splits, message):
    with pytest.raises(ValueError, match=message):
        prepare_joined(tmp_path / "m", parts, splits)


def train(folder, name, corpus, *more):
    include = f"clips_csv: {corpus}/clips.csv, embeddings: {corpus}/v.npz, face_key: face"
    include += ", voice_key: voice"
    part = f"{{{corpus}: !include:corpora/embeddings.yaml {{{include}}}}}"
    return run_forked(
        recipe(
            "train", HPARAMS / "infonce.yaml", f"--output_folder={name}", "--draw_figures=False",
            "--number_of_epochs=1", "--batch_size=6", "--steps_per_epoch=2", "--noprogressbar",
            f"--corpus=!include:corpora/joined.yaml {{standardize: False, parts: {part}}}",
            "--face=!include:face/embedding.yaml {input_dim: 6}",
            "--voice=!include:voice/embedding.yaml {input_dim: 4}", *more,
        ),
        folder,
    )  # fmt: skip


def test_a_model_goes_on_with_other_data_and_knows_whom_it_has_seen(tmp_path):
    for seed, name in enumerate("ab"):
        write_corpus(tmp_path / name, seed)
    result = train(tmp_path, "first", "a")
    assert result.returncode == 0, result.stderr
    result = train(tmp_path, "second", "b", "--init_from=first", "--lr=1e-12", "--final_lr=1e-13")
    assert result.returncode == 0, result.stderr
    expected = sorted(f"{name}/p{number}" for name in "ab" for number in range(8))
    assert read_train_identities(tmp_path / "second") == expected
    # At a learning rate of nothing the weights are those it started from.
    weights = []
    for name in ("first", "second"):
        folders = sorted((tmp_path / name / "save").glob("CKPT*"))
        file = folders[-1] / "face_encoder.ckpt"
        weights.append(__import__("torch").load(file, weights_only=True))
    key = "network.layers.0.weight"
    assert np.allclose(weights[0][key], weights[1][key], atol=1e-8)
    report = json.loads((tmp_path / "second/report.json").read_text())
    assert report["num_identities"] == 2
    refused = train(tmp_path, "third", "b", "--init_from=nowhere")
    assert refused.returncode == 2 and "nowhere" in refused.stderr
    # People of the test that the first model was trained on.
    table = pd.read_csv(tmp_path / "a/clips.csv")
    flipped = table.split.map({"train": "test", "test": "train", "valid": "valid"})
    table.assign(split=flipped).to_csv(tmp_path / "a/clips.csv", index=False)
    refused = train(tmp_path, "fourth", "a", "--init_from=first")
    assert refused.returncode == 2 and "8 people of validation and test were" in refused.stderr
