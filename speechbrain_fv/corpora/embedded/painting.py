"""Brush and paper of the embedded corpus: shapes in face units, drawn under a picture's pose."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from speechbrain_fv.corpora.embedded.camera import FACE_PIXELS, draw_background, photograph


class Canvas:
    """The picture and its relief, both drawn in face units under one pose."""

    def __init__(self, pose, rng):
        self.pose = pose
        self.image = draw_background(rng)
        self.relief = Image.new("L", self.image.size, 128)
        self.draw, self.relief_draw = ImageDraw.Draw(self.image), ImageDraw.Draw(self.relief)

    def fill(self, points, depth, colour):
        """Paints a polygon."""
        self.draw.polygon(self.pose.pixels(points, depth), fill=colour)

    def line(self, points, depth, colour, width):
        """Paints a stroke; its width in pixels of the drawing."""
        self.draw.line(self.pose.pixels(points, depth), fill=colour, width=width, joint="curve")

    def shade(self, points, depth, amount):
        """Lightens (amount > 0) or darkens a polygon softly, by this share."""
        self.relief_draw.polygon(self.pose.pixels(points, depth), fill=round(128 * (1 + amount)))

    def develop(self, head, rng):
        """The photograph [FACE_PIXELS square] of what was drawn, with the head's roundness."""
        size = (FACE_PIXELS, FACE_PIXELS)
        image = self.image.resize(size, Image.Resampling.BOX)
        relief = self.relief.resize(size, Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(1))
        relief = np.asarray(relief, dtype=np.float32) / 128
        return photograph(image, _roundness(self.pose, head), relief, rng)


def ellipse(centre, radii, num_points=32):
    """Outline [num_points, 2] of an ellipse, from its right end on."""
    angle = np.linspace(0, 2 * np.pi, num_points, endpoint=False)
    return np.asarray(centre) + np.asarray(radii) * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def mirrored(points):
    """A shape [P, 2] and its mirror image about the vertical axis of the face."""
    points = np.asarray(points)
    return points, points * np.array([-1, 1])


def band(x, upper, lower):
    """The polygon [2P, 2] between two curves over `x` [P]."""
    return np.concatenate([np.stack([x, upper], 1), np.stack([x, lower], 1)[::-1]])


def colour(rgb, factor=1.0):
    """A colour of the drawing: `rgb` in 0..255, made lighter or darker by a factor."""
    return tuple(int(channel) for channel in np.clip(np.asarray(rgb) * factor, 0, 255))


def _roundness(pose, head):
    """Surface normals [FACE_PIXELS, FACE_PIXELS, 2] of the head, an ellipsoid; 0 beside it."""
    radii = np.array([head[:, 0].max(), np.ptp(head[:, 1]) / 2])
    centre = np.array([0.0, (head[:, 1].max() + head[:, 1].min()) / 2])
    normals = (pose.face_points() - centre) / radii
    # Seen from the side, the middle of the head turns away.
    normals = normals - 0.15 * np.array([pose.yaw, pose.nod])
    length = np.square(normals).sum(axis=2, keepdims=True)
    return normals * 0.9 * np.clip((1.12 - length) / 0.12, 0, 1)
