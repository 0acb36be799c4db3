"""The embedded corpus: generation, what is visible and audible in it, and what is not."""

import dataclasses
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from PIL import Image
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from speechbrain.lobes.features import MFCC
from speechbrain.processing.features import InputNormalization

from speechbrain_fv.corpora.embedded import prepare_embedded, remove_abandoned
from speechbrain_fv.corpora.embedded.camera import FACE_PIXELS
from speechbrain_fv.corpora.embedded.faces import draw_face
from speechbrain_fv.corpora.embedded.identities import (
    NATIONALITIES,
    SHARED_TRAITS,
    draw_identities,
)
from speechbrain_fv.corpora.embedded.voices import SAMPLE_RATE, speak
from speechbrain_fv.data.manifests import SPLITS, load_manifests
from speechbrain_fv.data.splits import split_identities
from tests.processes import recipe, run_forked

NUM_IDENTITIES = 10
INCLUDE = Path(__file__).parents[1] / "hparams" / "corpora" / "embedded.yaml"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Cache folder that holds the corpus of seed 1, and the manifests made with it."""
    folder = tmp_path_factory.mktemp("cache")
    _prepare(folder / "manifests", folder)
    return folder


def _prepare(manifest_folder, cache_folder, seed=1, num_workers=1, **options):
    prepare_embedded(
        manifest_folder,
        cache_folder=cache_folder,
        num_identities=NUM_IDENTITIES,
        seed=seed,
        num_workers=num_workers,
        **options,
    )
    return load_manifests(manifest_folder)


def _media(cache_folder):
    (folder,) = cache_folder.glob("embedded-*")
    return folder


def _contents(cache_folder):
    folder = _media(cache_folder)
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# Generation and cache


def test_same_seed_gives_the_same_bytes_with_any_number_of_workers(cache, tmp_path):
    _prepare(tmp_path / "manifests", tmp_path, num_workers=2)
    assert _contents(tmp_path) == _contents(cache)


def test_another_seed_gives_other_people(cache):
    first, other = (draw_identities(1, seed)[0] for seed in (1, 2))
    assert first.traits != other.traits
    assert draw_face(first, 0).tobytes() != draw_face(other, 0).tobytes()
    assert draw_face(first, 0).tobytes() != draw_face(first, 1).tobytes()
    assert not np.array_equal(speak(first, 0)[:1000], speak(first, 1)[:1000])


def test_manifests_hold_five_of_each_and_disjoint_splits(cache):
    manifests = load_manifests(cache / "manifests")
    people = {split: set(manifests.faces[split].spk_id) for split in SPLITS}
    assert [len(people[split]) for split in SPLITS] == [6, 2, 2]
    assert len(set.union(*people.values())) == NUM_IDENTITIES
    for split in SPLITS:
        for rows in (manifests.faces[split], manifests.voices[split]):
            assert set(rows.spk_id) == people[split]
            assert set(rows.spk_id.value_counts()) == {5}
            assert rows.video.tolist() == rows.ID.tolist()
        assert set(manifests.faces[split].video) == set(manifests.voices[split].video)
    voice = manifests.voices["train"].iloc[0]
    assert voice.stop == round(voice.duration * SAMPLE_RATE)


def test_media_are_reused_and_manifests_follow_the_options(cache, tmp_path):
    before = _media(cache).stat().st_mtime_ns
    manifests = _prepare(tmp_path / "m", cache)
    key = manifests.preparation["key"]
    assert _prepare(tmp_path / "m", cache).preparation["key"] == key
    assert _prepare(tmp_path / "m", cache, shuffle_voices=True).preparation["key"] != key
    assert _media(cache).stat().st_mtime_ns == before


def test_changed_seed_makes_another_corpus(cache, tmp_path):
    shutil.copytree(_media(cache), tmp_path / _media(cache).name)
    _prepare(tmp_path / "m", tmp_path, seed=2)
    assert len(list(tmp_path.glob("embedded-*"))) == 2


def test_incomplete_folder_is_made_again(cache, tmp_path):
    shutil.copytree(_media(cache), tmp_path / _media(cache).name)
    lost = _media(tmp_path) / "voice" / "p0003_2.wav"
    lost.unlink()
    _prepare(tmp_path / "m", tmp_path)
    assert lost.exists() and _contents(tmp_path) == _contents(cache)


def test_killed_generation_leaves_no_corpus(tmp_path):
    """A SIGKILL while files are being written must not leave a folder that passes for whole."""
    program = (
        "from speechbrain_fv.corpora.embedded import prepare_embedded, remove_abandoned\n"
        f"prepare_embedded({str(tmp_path / 'm')!r}, {str(tmp_path)!r}, num_workers=1)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("*.wav")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert list(tmp_path.rglob("*.wav"))
    assert not list(tmp_path.glob("embedded-*"))


def test_shuffled_voices_give_everyone_the_voice_of_one_other_person(cache, tmp_path):
    plain = load_manifests(cache / "manifests")
    shuffled = _prepare(tmp_path / "m", cache, shuffle_voices=True)
    givers = set()
    for split in SPLITS:
        assert shuffled.faces[split].equals(plain.faces[split])
        for name, rows in shuffled.voices[split].groupby("spk_id"):
            (giver,) = {Path(wav).stem.split("_")[0] for wav in rows.wav}
            assert giver != name and len(rows) == 5
            assert sorted(rows.video) == [f"{name}_{clip}" for clip in range(5)]
            givers.add(giver)
    assert len(givers) == NUM_IDENTITIES
    assert shuffled.identities.equals(plain.identities)


@pytest.mark.parametrize(
    ("option", "value"), [("num_identities", 3), ("seed", -1), ("num_workers", 0)]
)
def test_senseless_options_are_rejected(tmp_path, option, value):
    with pytest.raises(ValueError, match=f"{option} must be >= .*got {value}"):
        prepare_embedded(tmp_path / "m", cache_folder=tmp_path, **{option: value})


def test_yaml_include_binds_every_option():
    with open(INCLUDE) as file:
        hparams = load_hyperpyyaml(file, {"shuffle_voices": True, "num_identities": 200})
    bound = hparams["prepare"].keywords
    assert bound["shuffle_voices"] is True and bound["num_identities"] == 200
    assert hparams["resize"] <= FACE_PIXELS


def test_test_people_meet_others_of_their_group():
    """The stratum GNA needs negatives: of the 100 test people, hardly anybody is alone."""
    people = draw_identities(500, seed=1234)
    splits = split_identities([person.name for person in people], seed=1234)
    groups = Counter(
        (person.gender, person.nationality, person.age)
        for person in people
        if splits[person.name] == "test"
    )
    pairs = sum(size * (size - 1) for size in groups.values())
    assert pairs > 300 and sum(size == 1 for size in groups.values()) < 5


def test_traits_and_labels_are_independent():
    people = draw_identities(3000, seed=5)
    table = np.array(
        [
            [*person.traits.values(), person.gender == "f", person.seniority]
            + [person.nationality == name for name in NATIONALITIES[1:]]
            for person in people
        ],
        dtype=float,
    )
    correlation = np.corrcoef(table.T)
    correlation[-3:, -3:] = 0  # a person has one nationality
    assert np.abs(correlation[np.triu_indices(len(correlation), 1)]).max() < 0.08


def test_contact_sheet_is_written(tmp_path):
    result = run_forked(recipe("contact_sheet", tmp_path / "sheet.png", "--num_identities=2"))
    assert result.returncode == 0, result.stderr
    assert Image.open(tmp_path / "sheet.png").width >= 600
    assert "IMAGE" in run_forked(recipe("contact_sheet", "--help")).stdout
    result = run_forked(recipe("contact_sheet", tmp_path / "sheet.png", "--num_identities=0"))
    assert result.stderr.endswith("error: --num_identities: expected at least 1, got 0\n")


# What is in the media: simple statistics of the clips of people whose hidden traits are all at
# an end of their range, drawn by coin; networks must see at least as much.

NUM_PEOPLE = 360


@pytest.fixture(scope="module")
def extremes():
    """People, one picture and one voice clip each, and their signs: trait or gender -> -1 or 1."""
    signs = np.random.default_rng(0).choice((-1.0, 1.0), size=(NUM_PEOPLE, len(SHARED_TRAITS)))
    people = [
        dataclasses.replace(person, traits=dict(zip(SHARED_TRAITS, row.tolist(), strict=True)))
        for person, row in zip(draw_identities(NUM_PEOPLE, seed=3), signs, strict=True)
    ]
    signs = dict(zip(SHARED_TRAITS, signs.T, strict=True))
    signs["gender"] = np.where([person.gender == "f" for person in people], 1.0, -1.0)
    faces = [np.asarray(draw_face(person, 0).convert("L"), dtype=float) for person in people]
    voices = [speak(person, 0) for person in people]
    return signs, faces, voices


@pytest.fixture(scope="module")
def face_features(extremes):
    """Brightness and edge strength in a 16 x 16 grid of a random crop, blind to mirroring."""
    rng = np.random.default_rng(0)

    def features(pixels):
        top, left = rng.integers(0, FACE_PIXELS - 63, size=2)
        crop = pixels[top : top + 64, left : left + 64] / pixels.mean()
        maps = np.stack([crop, *np.abs(np.gradient(crop))])
        maps = maps + maps[:, :, ::-1]
        return maps.reshape(3, 16, 4, 16, 4).mean(axis=(2, 4)).ravel()

    return np.stack([features(pixels) for pixels in extremes[1]])


@pytest.fixture(scope="module")
def voice_features(extremes):
    """Statistics over time of MFCC at mean 0 and deviation 1, as the encoders receive them."""
    mfcc = MFCC(deltas=False, context=False, n_mels=64, n_mfcc=64)
    normalize = InputNormalization(norm_type="sentence")

    def features(samples):
        batch = torch.from_numpy(samples[: 2 * SAMPLE_RATE])[None]
        track = normalize(mfcc(batch), torch.ones(1))[0, :, :32].numpy()
        correlation = np.corrcoef(track[:, :16].T)[np.triu_indices(16, 1)]
        return np.concatenate([np.diff(track, axis=0).std(axis=0), correlation, (track**3).mean(0)])

    return np.stack([features(samples) for samples in extremes[2]])


def _auc(features, signs):
    """AUC of a ridge regression to the signs, on the third of the people that it did not see."""
    known = 2 * len(signs) // 3
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 4, 9)))
    model.fit(features[:known], signs[:known])
    return roc_auc_score(signs[known:] > 0, model.predict(features[known:]))


# With 120 unseen people an uninformative AUC has a standard error of 0.053.


@pytest.mark.parametrize("trait", [*SHARED_TRAITS, "gender"])
def test_face_shows_what_is_shared(extremes, face_features, trait):
    assert _auc(face_features, extremes[0][trait]) > 0.72


@pytest.mark.parametrize("trait", [*SHARED_TRAITS, "gender"])
def test_voice_lets_hear_what_is_shared(extremes, voice_features, trait):
    assert _auc(voice_features, extremes[0][trait]) > 0.8


def test_background_tells_nothing(extremes):
    signs, faces, _ = extremes
    corners = np.stack(
        [np.concatenate([face[:12:4, :12:4], face[:12:4, -12::4]]).ravel() for face in faces]
    )
    aucs = [_auc(corners, sign) for sign in signs.values()]
    assert abs(np.mean(aucs) - 0.5) < 0.05 and max(aucs) < 0.65


def test_level_tells_nothing(extremes):
    signs, _, voices = extremes
    level = np.log([[samples.std()] for samples in voices])
    aucs = [_auc(level, sign) for sign in signs.values()]
    assert abs(np.mean(aucs) - 0.5) < 0.05 and max(aucs) < 0.65


def test_what_killed_processes_left_goes(tmp_path):
    """Their unfinished media go with the next generation; those of a living process stay."""
    abandoned, living = (tmp_path / f"partial-{name}" for name in ("old", "busy"))
    for folder in (abandoned, living):
        (folder / "embedded-x" / "face").mkdir(parents=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, living], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        remove_abandoned(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["partial-busy"]
        assert (living / "embedded-x" / "face").is_dir()
    finally:
        holder.kill()
        holder.wait()
    remove_abandoned(tmp_path)
    assert not list(tmp_path.iterdir())


HOLD = """
import sys, time
from speechbrain_fv.files import only_process
with only_process(sys.argv[1]):
    print("held", flush=True)
    time.sleep(100)
"""
