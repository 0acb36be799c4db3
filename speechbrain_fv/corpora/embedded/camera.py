"""The camera of the embedded corpus: pose, background, light and noise, drawn anew per picture.

Nothing here knows the person, so nothing here can tell who it is.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

FACE_PIXELS = 72
SUPERSAMPLING = 4
UNITS_ACROSS = 2.7  # width of the picture in face units


@dataclass(frozen=True)
class Pose:
    """Nuisance of one picture that moves points."""

    yaw: float
    nod: float
    roll: float
    scale: float
    shift: np.ndarray
    smile: float
    mouth_open: float
    lids: float  # factor on the opening of the eyes
    brow_raise: float

    def pixels(self, points, depth=0.0):
        """Drawing coordinates of face points [P, 2] that lie `depth` units before the outline."""
        points = np.asarray(points, dtype=float) + depth * np.array([self.yaw, self.nod])
        turned = points @ self._rotation() * self.scale + self.shift
        canvas = FACE_PIXELS * SUPERSAMPLING
        return [tuple(point) for point in (canvas * (0.5 + turned / UNITS_ACROSS)).tolist()]

    def face_points(self):
        """Face coordinates [FACE_PIXELS, FACE_PIXELS, 2] of the picture's pixels, at depth 0."""
        along = (np.arange(FACE_PIXELS) + 0.5) / FACE_PIXELS - 0.5
        turned = UNITS_ACROSS * np.stack(np.meshgrid(along, along), axis=-1)
        return (turned - self.shift) / self.scale @ self._rotation().T

    def _rotation(self):
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        return np.array([[cos, sin], [-sin, cos]])


def draw_pose(rng):
    """A random pose and expression."""
    return Pose(
        yaw=rng.uniform(-0.8, 0.8),
        nod=rng.uniform(-0.4, 0.4),
        roll=rng.uniform(-0.1, 0.1),
        scale=rng.uniform(0.97, 1.03),
        shift=rng.uniform(-0.06, 0.06, size=2),
        smile=rng.uniform(-0.3, 1.2),
        mouth_open=max(0.0, rng.uniform(-1, 1)),
        lids=rng.uniform(0.85, 1.1),
        brow_raise=rng.uniform(-0.02, 0.04),
    )


def draw_background(rng):
    """Gradient with up to five blurred shapes, in muted colours unrelated to the person."""
    canvas = FACE_PIXELS * SUPERSAMPLING
    ends = np.array([_wall(rng), _wall(rng)])[:, None, None]
    ramp = np.linspace(0, 1, canvas)[:, None, None]
    ramp = np.broadcast_to(ends[0] * (1 - ramp) + ends[1] * ramp, (canvas, canvas, 3))
    if rng.random() < 0.5:
        ramp = ramp.transpose(1, 0, 2)
    image = Image.fromarray(np.ascontiguousarray(ramp, dtype=np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(0, 6)):
        x, y, half_width, half_height = rng.uniform((0, 0, 10, 10), (canvas, canvas, 90, 90))
        box = (x - half_width, y - half_height, x + half_width, y + half_height)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape(box, fill=tuple(_wall(rng).tolist()))
    return image.filter(ImageFilter.BoxBlur(rng.uniform(1, 10)))


def _wall(rng):
    """A muted colour [3]."""
    return (rng.uniform(60, 200) + rng.uniform(-35, 35, size=3)).astype(int)


def photograph(image, roundness, relief, rng):
    """Lamp, colour cast, defocus and sensor noise.

    Arguments
    ---------
    image : PIL.Image.Image
        RGB picture without light, `FACE_PIXELS` square.
    roundness : np.ndarray
        Surface normals [FACE_PIXELS, FACE_PIXELS, 2] to the right and down; 0 where it is flat.
    relief : np.ndarray
        Factor [FACE_PIXELS, FACE_PIXELS] of the small hollows and ridges, about 1.
    rng : np.random.Generator
        What the picture is taken with; nothing of the person.

    Returns
    -------
    image : PIL.Image.Image
    """
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.6)))
    pixels = np.asarray(image, dtype=np.float32)
    along = np.linspace(-1, 1, FACE_PIXELS)
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * along[None, :] + np.sin(angle) * along[:, None]
    light = rng.uniform(0.85, 1.1) * (1 + rng.uniform(0, 0.2) * slope)
    lamp = np.array([rng.uniform(-0.4, 0.4), rng.uniform(-0.35, 0.05)])  # right, down
    bulge = np.sqrt(1 - np.minimum(0.98, np.square(roundness).sum(axis=2)))
    light *= (0.45 + 0.55 * bulge + roundness @ lamp) * relief
    pixels = pixels * light[:, :, None] * rng.uniform(0.95, 1.05, size=3)
    pixels = pixels + rng.normal(0, rng.uniform(1, 6), size=pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
