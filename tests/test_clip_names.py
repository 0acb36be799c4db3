"""Paths of VoxCeleb and VGGFace: many forms, one clip."""

import pytest

from speechbrain_fv.protocols import VoxCelebNames
from tests.voxceleb import FRAMES, PINS_FACES, PINS_VOICES, STILLS, VIDEO, VOICES


@pytest.mark.parametrize(
    ("modality", "names"),
    [
        ("voice", VOICES),
        ("voice", PINS_VOICES),
        ("voice", [f"/data/wav/{name}" for name in VOICES]),
        ("voice", [f"id1000{number}--{VIDEO}--00001" for number in range(3)]),
        ("face", FRAMES),
        ("face", PINS_FACES),
        ("face", [f"CCH_Pounder/{name}" for name in FRAMES]),
        ("face", [f"id1000{number}--1.6--{VIDEO}--0000025.jpg" for number in range(3)]),
    ],
)
def test_all_forms_of_a_path_are_one_clip(meta_csv, modality, names):
    number = {"face": 25, "voice": 1}[modality]
    naming = VoxCelebNames(meta_csv)
    expected = [f"id1000{person}/{VIDEO}/{number}" for person in range(3)]
    assert naming.keys(names, modality).tolist() == expected
    assert naming.identities(names, modality).tolist() == ["id10000", "id10001", "id10002"]


@pytest.mark.parametrize(
    "names", [STILLS, [f"id1000{number}--00000025.jpg" for number in range(3)]]
)
def test_stills_have_no_video(meta_csv, names):
    keys = VoxCelebNames(meta_csv).keys(names, "face").tolist()
    assert keys == ["id10000//25", "id10001//25", "id10002//25"]


def test_names_of_other_forms_have_no_key(meta_csv):
    naming = VoxCelebNames(meta_csv)
    wrong = ["Nobody/00000025.jpg", "CCH_Pounder/x.jpg", "CCH_Pounder/00025.wav", "25.jpg", ""]
    assert naming.keys([*wrong, *VOICES], "face").isna().all()
    assert naming.keys([*wrong, *FRAMES], "voice").isna().all()
