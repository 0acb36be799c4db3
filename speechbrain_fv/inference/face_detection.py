"""The face detector, which lives in `media`: preparations of corpora crop photos by it too."""

from speechbrain_fv.media.face_detection import (
    CLEAR_GAIN,
    MARGIN,
    MIN_SCORE,
    SURE_SCORE,
    TURN_GAIN,
    Detection,
    FaceDetector,
    FoundFace,
    best_first,
    crop_face,
    load_detector,
)

__all__ = [
    "CLEAR_GAIN",
    "MARGIN",
    "MIN_SCORE",
    "SURE_SCORE",
    "TURN_GAIN",
    "Detection",
    "FaceDetector",
    "FoundFace",
    "best_first",
    "crop_face",
    "load_detector",
]
