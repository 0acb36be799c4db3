"""The published families: made-up copies, and the real lists where at hand."""

import shutil

import numpy as np
import pandas as pd
import pytest

from speechbrain_fv.corpora.voxceleb_splits import dimnet_split, read_meta
from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.lists import evaluate_lists, format_lists
from speechbrain_fv.protocols import FAMILIES, PublishedLists, resolve_lists
from speechbrain_fv.protocols.leakage import check_leakage
from speechbrain_fv.settings.loading import load_hparams
from tests.paths import HPARAMS, ROOT
from tests.voxceleb import FRAMES, PEOPLE, PINS_FACES, PINS_VOICES, STILLS, VOICES

REAL = ROOT.parent / "shared" / "data" / "voxceleb"
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is not on this machine")

HEADER = "id,voice-speaker-id,face-speaker-id,label,voice-path,face-path\n"


def embeddings(faces, voices, people=None):
    """Returns one-hot embeddings, a face and a voice per person."""
    people = people or ["id10000", "id10001", "id10002"]
    return Embeddings(np.eye(3), np.eye(3), people, people, faces, voices)


@pytest.mark.parametrize("people", [None, PEOPLE])
@pytest.mark.parametrize("faces", [FRAMES, PINS_FACES])
def test_made_up_copies_of_pins_are_scored(tmp_path, meta_csv, faces, people, caplog):
    for part in ("veriflist", "matching", "retrieval"):
        (tmp_path / part).mkdir()
    rows = [
        (1, 1, 1, 1, PINS_VOICES[0], PINS_FACES[0]),
        (2, 1, 2, 0, PINS_VOICES[0], PINS_FACES[1]),
    ]
    text = HEADER + "".join(",".join(map(str, row)) + "\n" for row in rows)
    (tmp_path / "veriflist" / "veriflist_test_G_unseenunheard.txt").write_text(text)
    trio = f"{VOICES[0]} {FRAMES[0]} {FRAMES[1]}\n"
    (tmp_path / "matching" / "matching_v2f_G.csv").write_text(trio)
    for name, paths in (("wav", VOICES), ("jpg", FRAMES)):
        table = pd.DataFrame({"VoxCeleb1 ID": ["id10000", "id10001", "id10002"], name: paths})
        table.to_csv(tmp_path / "retrieval" / f"{name}_20k.csv", sep="\t", index=False)
    names = ["veriflist_G_unseenunheard", "matching_v2f_G", "retrieval_v2f", "retrieval_f2v"]
    (tmp_path / "lists.yaml").write_text("lists: null\n")
    include = f"{{folder: {tmp_path}, meta_csv: {meta_csv}, names: {names}}}"
    _, hparams, _ = load_hparams(
        [str(tmp_path / "lists.yaml"), f"--lists=!include:{HPARAMS}/protocols/pins.yaml {include}"]
    )
    people = embeddings(faces, VOICES, people)
    found = evaluate_lists(people, resolve_lists(hparams["lists"], people))
    verification, matching, voices, faces = found.values()
    assert (verification["auc"], verification["direction"]) == (1, "V-F")
    assert matching["accuracy"]["2"]["accuracy"] == 1
    assert (voices["direction"], voices["map"], faces["direction"]) == ("V-F", 1, "F-V")
    assert [entry["as_published"] for entry in found.values()] == [False] * 4
    assert verification["published_num_rows"] == [30_496]
    assert "2, 0 (published: 30496)" in format_lists(found)
    assert "published were (30496,)" in caplog.text


@pytest.mark.parametrize(
    ("family", "name", "file", "text", "message"),
    [
        (
            "ssos",
            "verify_v2f",
            "verify_v2f_test.txt",
            f"{VOICES[0]} {STILLS[0]}\na b c\n",
            "line 2",
        ),
        (
            "ssos",
            "verify_v2f",
            "verify_v2f_test.txt",
            f"{VOICES[0]} Nobody/01.jpg\n",
            "line 1: .*face",
        ),
        (
            "ssos",
            "verify_f2v",
            "verify_f2v_test.txt",
            f"{VOICES[0]} {STILLS[0]}\n",
            "line 1: .*face",
        ),
        ("ssos", "match_v2f_2_val", "match_v2f_2_val.txt", f"{VOICES[0]} {STILLS[0]}\n", "line 1"),
        (
            "ssos",
            "retrieval_v2f",
            "reterival_v2f_test.txt",
            f"{VOICES[0]}\n{STILLS[0]} x\n",
            "line 2",
        ),
        (
            "pins",
            "veriflist_G_seenheard",
            "veriflist/veriflist_test_G_seenheard.txt",
            f"{HEADER}1,1,1,2,{PINS_VOICES[0]},{PINS_FACES[0]}\n",
            "line 2: expected id,",
        ),
        (
            "pins",
            "veriflist_G_seenheard",
            "veriflist/veriflist_test_G_seenheard.txt",
            f"{HEADER}1,1,1,1,{PINS_VOICES[0]},{PINS_FACES[0]}\n1,1,1,1,x,{PINS_FACES[0]}\n",
            "line 3: expected the path of a voice",
        ),
    ],
)
def test_malformed_lists_are_refused_with_file_and_line(
    tmp_path, meta_csv, family, name, file, text, message
):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"{path.name}, {message}"):
        PublishedLists(family, tmp_path, [name], meta_csv).read()


def test_other_misuse_is_refused(tmp_path, meta_csv):
    with pytest.raises(ValueError, match="family: expected ssos or pins"):
        PublishedLists("sos", tmp_path, ["verify_v2f"], meta_csv)
    with pytest.raises(ValueError, match=r"names: expected some of .* got \['x'\]"):
        PublishedLists("ssos", tmp_path, ["x"], meta_csv)
    with pytest.raises(ValueError, match=r"verify_v2f_test\.txt: not found"):
        PublishedLists("ssos", tmp_path, ["verify_v2f"], meta_csv).read()
    (tmp_path / "verify_v2f_test.txt").write_text(f"{VOICES[0]} {STILLS[0]}\n")
    source = PublishedLists("ssos", tmp_path, ["verify_v2f"], meta_csv)
    with pytest.raises(ValueError, match=r"none of its clips .*'f0'|none of its clips .*'v0'"):
        resolve_lists(source, embeddings(["f0", "f1", "f2"], ["v0", "v1", "v2"]))
    with pytest.raises(ValueError, match="are one voice clip to the list; keep one"):
        resolve_lists(source, embeddings(STILLS, [VOICES[0], PINS_VOICES[0], "v2"]))


def made_up(lists, dim=8, constant=False, seed=0):
    """Returns embeddings of every clip that the lists name, by the identity in its path."""
    names = {"face": [], "voice": []}
    for trials in lists:
        other = "voice" if trials.probe == "face" else "face"
        names[trials.probe].append(trials.probes)
        names[other].append(trials.targets.ravel())
    rng = np.random.default_rng(seed)
    vectors, people = [], []
    for modality, parts in names.items():
        clips = pd.Series(pd.unique(np.concatenate(parts)))
        keys = lists[0].clip_names.keys(clips.tolist(), modality)
        clips, keys = clips[~keys.duplicated()], keys[~keys.duplicated()]
        names[modality] = clips.tolist()
        people.append(keys.str.partition("/")[0].tolist())
        shape = (len(clips), dim)
        vectors.append(np.ones(shape) if constant else rng.normal(size=shape))
    return Embeddings(*vectors, *people, names["face"], names["voice"])


def subset(family, folder, names):
    return PublishedLists(family, folder, names, REAL / "vox1_meta.csv")


@pytest.fixture(scope="module")
def ssos():
    """All lists of the family, and embeddings at chance for all their clips."""
    source = subset("ssos", REAL / "ssos", [*FAMILIES["ssos"]])
    people = made_up(source.read(), constant=True)
    return people, resolve_lists(source, people)


@real
def test_constant_embeddings_score_exactly_chance_on_every_ssos_list(ssos):
    people, lists = ssos
    # Every 40th query: the gallery, and with it chance, stays whole.
    fewer = [
        vars(item)
        | {"probes": item.probes[::40].copy(), "probe_identity": item.probe_identity[::40].copy()}
        if item.trials.kind == "retrieval"
        else vars(item)
        for item in lists
    ]
    found = evaluate_lists(
        people, [type(item)(**kept) for item, kept in zip(lists, fewer, strict=True)]
    )
    for entry in found.values():
        assert entry["as_published"]
        assert (entry["num_unresolved_rows"], entry["num_contradictions"]) == (0, 0)
        if entry["kind"] == "verification":
            assert (entry["auc"], entry["eer"]) == (0.5, 0.5)
        elif entry["kind"] == "matching":
            assert entry["accuracy"]["2"]["accuracy"] == 0.5
    assert found["ssos/verify_v2f"]["num_rows"] == [65_550]
    assert found["ssos/verify_v2f"]["audit"]["num_repeated_rows"] == 358
    assert found["ssos/verify_g_f2v"]["num_rows"] == [60_228]
    assert found["ssos/retrieval_v2f"]["num_rows"] == [21_850, 20_076]


def chance(resolved):
    """Returns the mean chance over all queries, from the numbers of positives alone."""
    gallery = pd.Series(resolved.target_identity).value_counts()
    positives = gallery.reindex(resolved.probe_identity).to_numpy(float)
    size = len(resolved.target_identity)
    harmonic = (1 / np.arange(1, size + 1)).sum()
    return ((harmonic + (positives - 1) / (size - 1) * (size - harmonic)) / size).mean()


@real
def test_chance_of_the_full_ssos_gallery(ssos):
    by_name = {item.trials.name: item for item in ssos[1]}
    assert 100 * chance(by_name["ssos/retrieval_v2f"]) == pytest.approx(0.572, abs=5e-4)
    assert 100 * chance(by_name["ssos/retrieval_f2v"]) == pytest.approx(0.569, abs=5e-4)


@real
def test_negatives_of_the_ssos_g_lists_share_the_gender(ssos):
    people, lists = ssos
    wanted = [item for item in lists if item.trials.name.startswith("ssos/verify_g")]
    found = evaluate_lists(people, wanted, read_meta(REAL / "vox1_meta.csv"))
    assert [entry["negatives_agree"]["gender"]["share"] for entry in found.values()] == [1, 1]


@real
def test_pins_verification_matching_and_the_leak_from_dimnet():
    names = [f"veriflist_{stratum}_unseenunheard" for stratum in ("random", "G", "GNA")]
    source = subset("pins", REAL / "pins", [*names, "matching_v2f_GN", "matching_f2v_U"])
    people = made_up(source.read())
    lists = resolve_lists(source, people)
    meta = read_meta(REAL / "vox1_meta.csv")
    found = evaluate_lists(people, lists, meta)
    assert all(entry["as_published"] for entry in found.values())
    assert not any(entry["num_unresolved_rows"] for entry in found.values())
    assert not any(entry["num_contradictions"] for entry in found.values())
    assert found["pins/veriflist_random_unseenunheard"]["num_rows"] == [30_496]
    shares = [
        found[f"pins/veriflist_{stratum}_unseenunheard"]["negatives_agree"]["gender"]["share"]
        for stratum in ("G", "GNA")
    ]
    assert [round(100 * share, 1) for share in shares] == [98.3, 98.1]
    assert found["pins/matching_v2f_GN"]["accuracy"]["2"]["num_trials"] == 9_120
    audit = found["pins/veriflist_GNA_unseenunheard"]["audit"]
    assert round(audit["positional"]["agreement"], 4) == 0.5917
    assert audit["promise"]["negatives"]["gender"]["num_broken"] == 264
    names = meta[meta.identity.map(dimnet_split(meta)) == "train"].name.tolist()
    with pytest.raises(ValueError, match="169 of 250 identities, 24130 of 30496 pairs"):
        check_leakage(names, people, lists, REAL / "vox1_meta.csv")


@real
def test_pins_gallery_of_20k(tmp_path):
    """Half of the embeddings are missing by name: they are counted and left out."""
    source = subset("pins", REAL / "pins", ["retrieval_v2f"])
    people = made_up(source.read())
    (resolved,) = resolve_lists(source, people)
    assert resolved.trials.counts == (20_000, 20_000)
    assert 100 * chance(resolved) == pytest.approx(0.599, abs=5e-4)
    kept = np.arange(0, 20_000, 20)
    fewer = Embeddings(
        people.face[kept],
        people.voice[kept],
        people.face_identity[kept],
        people.voice_identity[kept],
        people.face_id[kept],
        people.voice_id[kept],
    )
    found = evaluate_lists(fewer, resolve_lists(source, fewer))["pins/retrieval_v2f"]
    assert (found["gallery_size"], found["num_unresolved_rows"]) == (1_000, 38_000)


@real
def test_files_of_a_family_may_be_unpacked(tmp_path):
    shutil.copytree(REAL / "pins" / "matching", tmp_path / "matching")
    packed = tmp_path / "matching" / "matching_v2f_U.csv.gz"
    table = pd.read_csv(packed, header=None)
    packed.unlink()
    table.to_csv(packed.with_suffix(""), header=False, index=False)
    (trials,) = subset("pins", tmp_path, ["matching_v2f_U"]).read()
    assert trials.counts == trials.published
