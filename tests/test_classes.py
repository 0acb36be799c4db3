"""Classes: numbers of labels, against SpeechBrain's encoder, and what a corpus lacks."""

import numpy as np
import pandas as pd
import pytest
from speechbrain.dataio.encoder import CategoricalEncoder

from speechbrain_fv.data.classes import attributes_of, missing_reason, training_classes
from speechbrain_fv.data.manifests import Manifests

PEOPLE = pd.DataFrame(
    [
        # identity, split, gender, nationality, age, language
        ("zoe", "train", "m", "", "", "Urdu"),
        ("ann", "train", "", "", "30", "English"),
        ("bob", "train", "f", "", "100", "Urdu"),
        ("cat", "train", "f", "", "9", ""),
        ("dan", "valid", "x", "UK", "1", "Hindi"),
        ("eve", "test", "f", "UK", "2", "English"),
    ],
    columns=["identity", "split", "gender", "nationality", "age", "language"],
)
CLIPS = pd.DataFrame(
    {
        "spk_id": ["bob", "ann", "zoe", "zoe", "cat", "dan"],
        "video": ["b1", "a2", "", "z0", "", "d0"],
        "split": ["train"] * 5 + ["valid"],
    }
)


def corpus(identities=PEOPLE, face_videos=None, voice_videos=None):
    """Manifests whose clips are `CLIPS`, as faces and as voices."""
    tables = []
    for videos in (face_videos, voice_videos):
        clips = CLIPS if videos is None else CLIPS.assign(video=videos)
        tables.append({split: rows for split, rows in clips.groupby("split")})
    return Manifests(*tables, identities, {})


def encoded(identities, attribute):
    """Identity to class, by SpeechBrain's encoder; unknown labels are left out."""
    identities = identities[identities.split == "train"]
    known = identities[identities[attribute] != ""]
    encoder = CategoricalEncoder()
    encoder.ignore_len()
    encoder.update_from_iterable(sorted(known[attribute].unique()))
    return {
        row["identity"]: encoder.encode_label(row[attribute]) for row in known.to_dict("records")
    }


@pytest.mark.parametrize("attribute", ["identity", "gender", "nationality", "age", "language"])
def test_labels_of_identities_are_numbered_as_speechbrain_does(attribute):
    (classes,) = training_classes(corpus(), [attribute]).values()
    expected = encoded(PEOPLE, attribute)
    assert classes.column == "spk_id" and classes.index == expected
    assert classes.num_classes == len(set(expected.values())) == len(classes.labels)
    clips = corpus().faces["train"]
    assert classes.of(clips).tolist() == [expected.get(name, -1) for name in clips.spk_id]
    assert classes.of(clips).dtype == np.int64
    labels = PEOPLE.set_index("identity")[attribute] if attribute != "identity" else None
    for name, number in expected.items():
        assert classes.labels[number] == (name if labels is None else labels[name])


def test_videos_are_numbered_over_both_modalities():
    faces = ["b1", "a2", "", "z0", "", "held"]
    voices = ["b1", "", "z9", "z0", "", "out"]
    manifests = corpus(face_videos=faces, voice_videos=voices)
    video = training_classes(manifests, ["video"])["video"]
    assert video.column == "video"
    assert video.labels == ("a2", "b1", "z0", "z9")
    assert video.of(manifests.faces["train"]).tolist() == [1, 0, -1, 2, -1]
    assert video.of(manifests.voices["train"]).tolist() == [1, -1, 3, 2, -1]
    assert video.of(manifests.faces["valid"]).tolist() == [-1]
    assert missing_reason(manifests, "video") is None


def test_attributes_keep_their_order_and_further_columns_count():
    manifests = corpus()
    names = ["language", "gender", "identity"]
    assert list(training_classes(manifests, names)) == names
    assert attributes_of(manifests) == [
        *("identity", "video", "gender", "nationality", "age", "language"),
    ]


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("identity", None),
        ("gender", None),
        ("language", None),
        ("nationality", "no training identity of the corpus has a known nationality"),
        ("video", "no training clip of the corpus has a known video"),
        ("accent", "the corpus has no attribute 'accent'; it has identity, video, gender, "),
        ("split", "the corpus has no attribute 'split'; it has identity, video, gender, "),
    ],
)
def test_what_a_corpus_lacks_is_said_and_has_no_classes(attribute, message):
    manifests = corpus(face_videos=[""] * 6, voice_videos=[""] * 6)
    reason = missing_reason(manifests, attribute)
    assert reason is None if message is None else reason.startswith(message)
    classes = training_classes(manifests, [attribute])[attribute]
    assert (classes.num_classes == 0) == (message is not None)
    if message:
        assert classes.of(manifests.voices["train"]).tolist() == [-1] * 5


def test_tables_without_videos_have_none():
    """Manifests made by hand may lack the column."""
    tables = {"train": CLIPS.drop(columns="video")}
    manifests = Manifests(tables, tables, PEOPLE, {})
    assert missing_reason(manifests, "video").startswith("no training clip")
    video = training_classes(manifests, ["video"])["video"]
    assert video.of(tables["train"]).tolist() == [-1] * 6
