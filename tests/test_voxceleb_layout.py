"""The folders in which VoxCeleb1 and VGGFace lie about, and people that are missing."""

import pandas as pd
import pytest

from speechbrain_fv.corpora.voxceleb_layout import check_complete, list_faces, list_voices, roots
from speechbrain_fv.corpora.voxceleb_splits import coverage, read_meta
from tests.voxceleb import PEOPLE, VIDEO

IDS = ["id10000", "id10001", "id10002"]
CLIPS = [f"{name}--{VIDEO}--0000{number}" for name in IDS for number in range(2)]


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def write_voices(folder, places, suffix=".wav"):
    """Empty files: an identity in each place, two clips each."""
    for name, place in zip(IDS, places, strict=True):
        for number in range(2):
            touch(folder / place / name / VIDEO / f"0000{number}{suffix}")


@pytest.mark.parametrize(
    ("places", "given"),
    [
        (["wav"] * 3, ["."]),
        (["wav"] * 3, ["wav"]),
        (["dev/wav", "dev/wav", "test/wav"], ["."]),
        (["dev/wav", "dev/wav", "test/wav"], ["dev", "test"]),
        (["dev/wav", "dev/wav", "test/wav"], ["dev/wav", "test/wav"]),
        (["vox1_dev_wav/wav", "vox1_dev_wav/wav", "vox1_test_wav/wav"], ["."]),
        (["a/vox1/dev/wav", "a/vox1/dev/wav", "a/vox1/test/wav"], ["a"]),
        (["aac"] * 3, ["."]),
        (["dev/aac", "test/aac", "test/aac"], ["."]),
        (["."] * 3, ["."]),
    ],
)
@pytest.mark.parametrize("suffix", [".wav", ".WAV", ".flac"])
def test_voices_are_found_wherever_their_identity_lies(tmp_path, places, given, suffix):
    write_voices(tmp_path, places, suffix)
    voices = list_voices(roots([tmp_path / name for name in given], "voxceleb_folder"))
    assert voices.ID.tolist() == CLIPS
    assert voices.spk_id.tolist() == [name for name in IDS for _ in range(2)]
    assert set(voices.video) == {VIDEO}
    assert all(path.endswith(suffix) for path in voices.wav)


def test_one_clip_in_two_places_is_refused(tmp_path):
    write_voices(tmp_path, ["wav"] * 3)
    write_voices(tmp_path, ["flac"] * 3, ".flac")
    with pytest.raises(ValueError, match=r"are one clip, id10000--.*; keep one of them"):
        list_voices([tmp_path])


def test_files_that_cannot_be_read_are_named(tmp_path):
    write_voices(tmp_path, ["dev/aac"] * 3, ".m4a")
    with pytest.raises(ValueError, match=r"6 other files, as .*00000\.m4a: convert them"):
        list_voices([tmp_path])


@pytest.fixture
def meta(meta_csv):
    return read_meta(meta_csv)


def spelled(form):
    return {"id": IDS, "space": [name.replace("_", " ") for name in PEOPLE]}.get(form, PEOPLE)


@pytest.mark.parametrize("form", ["name", "space", "id"])
@pytest.mark.parametrize("parent", ["", "unzippedFaces", "vgg/unzippedFaces"])
def test_faces_are_found_by_name_or_id(tmp_path, meta, form, parent):
    folder = tmp_path / "faces"
    for name in spelled(form):
        touch(folder / parent / name / "00000025.JPG")
        touch(folder / parent / name / "1.6" / VIDEO / "0000025.jpg")
        touch(folder / parent / name / "notes.txt")
    touch(folder / parent / "Nobody_Known" / "1.jpg")
    faces, unknown = list_faces([folder], meta)
    assert unknown == ["Nobody_Known"]
    for identity in IDS:
        rows = faces[faces.spk_id == identity].set_index("ID").video.to_dict()
        frame = f"{identity}--1.6--{VIDEO}--0000025.jpg"
        assert rows == {f"{identity}--00000025.JPG": "", frame: VIDEO}


def test_stills_and_frames_may_lie_in_two_folders(tmp_path, meta):
    for name in PEOPLE:
        touch(tmp_path / "stills" / name / "00000025.jpg")
        touch(tmp_path / "frames" / name / "1.6" / VIDEO / "0000025.jpg")
    faces, _ = list_faces([tmp_path / "stills", tmp_path / "frames"], meta)
    assert len(faces) == 6
    touch(tmp_path / "frames" / "id10000" / "1.6" / VIDEO / "0000025.jpg")
    with pytest.raises(ValueError, match="are one clip, id10000--1.6"):
        list_faces([tmp_path / "frames"], meta)


def notes(voices):
    faces = pd.DataFrame({"spk_id": IDS})
    counts = coverage(dict.fromkeys(IDS, "train"), faces, voices, "dimnet")
    counts["identities"] = {"train": {**counts["identities"]["train"], "published": 3}}
    return counts


def test_missing_people_are_a_question_that_says_where_they_are(tmp_path):
    """dev alone lost the speakers of test, with a line in the log."""
    write_voices(tmp_path, ["dev/wav", "dev/wav", "test/wav"])
    folders = roots(tmp_path / "dev", "voxceleb_folder")
    found = notes(list_voices(folders))
    with pytest.raises(ValueError, match="train 2 of 3: 1 without voices") as error:
        check_complete(found, folders, allowed=False)
    assert f"lie in {tmp_path / 'test' / 'wav'}, name both" in str(error.value)
    assert "allow_missing_identities: True" in str(error.value)
    check_complete(found, folders, allowed=True)
    whole = roots([tmp_path / "dev", tmp_path / "test"], "voxceleb_folder")
    check_complete(notes(list_voices(whole)), whole, allowed=False)
