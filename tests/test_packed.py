"""Feature packs as a corpus: written once to an .npz, prepared, trained on."""

import numpy as np
import pandas as pd
import pytest

from speechbrain_fv.corpora.packed import prepare_feature_packs
from speechbrain_fv.data.manifests import load_manifests
from tests.paths import HPARAMS
from tests.processes import recipe, run_forked


def write_packs(folder, num_people=20, clips=3, dims=(12, 6)):
    """A CSV of faces and a tree of voices, of people who have a direction of their own."""
    generator = np.random.default_rng(0)
    people = np.repeat(np.arange(num_people), clips)
    who = generator.standard_normal((num_people, 4))
    vectors = [
        who[people] @ generator.standard_normal((4, dim))
        + 0.1 * generator.standard_normal((len(people), dim))
        for dim in dims
    ]
    np.savetxt(folder / "faces.csv", np.column_stack([vectors[0], people]), "%.6g", ",")
    for clip, (person, vector) in enumerate(zip(people, vectors[1], strict=True)):
        path = folder / "voices" / str(person) / "video" / f"{clip}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, vector)
    return folder / "faces.csv", folder / "voices"


def test_packs_of_two_forms_become_one_corpus(tmp_path):
    packs = write_packs(tmp_path)
    people = pd.DataFrame({"identity": range(20), "gender": ["f", "m"] * 10})
    people.to_csv(tmp_path / "people.csv", index=False)
    vectors = tmp_path / "cache" / "vectors.npz"
    prepare_feature_packs(tmp_path / "manifests", *packs, vectors, tmp_path / "people.csv")
    manifests = load_manifests(tmp_path / "manifests")
    faces, voices = (pd.concat(part.values()) for part in (manifests.faces, manifests.voices))
    assert len(faces) == len(voices) == 60 and set(faces.spk_id) == set(map(str, range(20)))
    assert faces.set_index("ID").spk_id["1"] == "0" and faces.set_index("ID").spk_id["60"] == "19"
    assert voices.set_index("ID").spk_id["7/video/21"] == "7"
    assert manifests.identities.set_index("identity").gender["3"] == "m"
    with np.load(vectors) as arrays:
        line = (tmp_path / "faces.csv").read_text().splitlines()[4].split(",")
        np.testing.assert_array_equal(arrays["face"][4], np.float32(line[:-1]))


def test_packs_are_read_once_and_again_when_they_change(tmp_path, caplog):
    packs, vectors = write_packs(tmp_path), tmp_path / "vectors.npz"
    prepare_feature_packs(tmp_path / "manifests", *packs, vectors)
    written = vectors.stat().st_mtime_ns
    prepare_feature_packs(tmp_path / "manifests", *packs, vectors)
    assert vectors.stat().st_mtime_ns == written
    np.save(packs[1] / "0" / "video" / "0.npy", np.full(6, 7.0))
    prepare_feature_packs(tmp_path / "manifests", *packs, vectors)
    assert "vectors.npz: holds other packs, or an earlier state of them; replaced" in caplog.text
    with np.load(vectors) as arrays:
        assert (arrays["voice"][arrays["voice_id"] == "0/video/0"] == 7).all()


def test_a_mistake_leaves_the_earlier_vectors(tmp_path):
    packs, vectors = write_packs(tmp_path), tmp_path / "vectors.npz"
    prepare_feature_packs(tmp_path / "manifests", *packs, vectors)
    before = vectors.read_bytes()
    packs[0].write_text("1,2,x\n1,2\n")
    with pytest.raises(ValueError, match=r"faces.csv, line 2: expected 3 cells"):
        prepare_feature_packs(tmp_path / "manifests", *packs, vectors)
    assert vectors.read_bytes() == before
    with pytest.raises(ValueError, match="vectors: expected another file than the packs themsel"):
        prepare_feature_packs(tmp_path / "manifests", vectors, packs[1], vectors)


def test_a_training_reads_packs_and_learns(tmp_path):
    face, voice = write_packs(tmp_path, num_people=40)
    corpus = f"{{face_pack: {face}, voice_pack: {voice}, vectors: {tmp_path / 'v.npz'}}}"
    result = run_forked(
        recipe(
            "train",
            HPARAMS / "bipcm_fst.yaml",
            f"--corpus=!include:corpora/feature_packs.yaml {corpus}",
            "--face=!include:face/embedding.yaml {input_dim: 12}",
            "--voice=!include:voice/embedding.yaml {input_dim: 6}",
            f"--output_folder={tmp_path / 'run'}",
            *("--num_clusters=[4]", "--batch_size=32", "--number_of_epochs=2"),
            *("--steps_per_epoch=40", "--draw_figures=False", "--lr=0.003"),
        )
    )
    assert result.returncode == 0, result.stderr
    report = pd.read_json(tmp_path / "run" / "report.json", typ="series")
    assert report["verification"]["U"]["auc"] > 0.75
