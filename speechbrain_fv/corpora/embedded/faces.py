"""Renders the faces of the embedded corpus: flat-shaded cartoon portraits.

Shapes are polygons in face units (origin between eyes and nose, y down, 1 = half the height of an
average head). They are moved by the pose, drawn four times too large and scaled down, which
smooths the edges. Light, camera noise and JPEG come last.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from speechbrain_fv.corpora.embedded.camera import (
    FACE_PIXELS,
    draw_background,
    draw_pose,
    photograph,
)

# Mean skin tone and probabilities of the hair colours, per nationality: they overlap.
_SKIN = {
    "Alvia": (234, 192, 164),
    "Borea": (252, 224, 206),
    "Cirrhia": (192, 140, 100),
    "Dorland": (126, 83, 57),
    "Estara": (228, 184, 132),
}
_HAIR = np.array([(35, 28, 26), (92, 58, 34), (150, 92, 45), (214, 176, 104), (158, 62, 30)])
_HAIR_ODDS = {
    "Alvia": (0.1, 0.55, 0.25, 0.1, 0.0),
    "Borea": (0.0, 0.05, 0.25, 0.45, 0.25),
    "Cirrhia": (0.5, 0.4, 0.05, 0.0, 0.05),
    "Dorland": (0.85, 0.15, 0.0, 0.0, 0.0),
    "Estara": (0.75, 0.15, 0.1, 0.0, 0.0),
}
_GREY = np.array((196, 194, 192))
_EYES = np.array([(70, 45, 28), (60, 105, 160), (70, 120, 70), (120, 85, 45), (45, 40, 40)])


@dataclass(frozen=True)
class _Looks:
    """Appearance of one person without the shared traits: the same in all of their pictures."""

    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    hair_length: float  # 0 cropped, 1 below the shoulders
    hair_volume: float
    parting: float  # -1 left, 1 right
    fringe: float
    beard: float  # 0 none, 1 full
    glasses: bool


def draw_face(identity, clip):
    """Returns one picture of a person.

    Arguments
    ---------
    identity : Identity
        The person.
    clip : int
        Number of the picture, >= 0; it alone fixes pose, light, background, noise and expression.

    Returns
    -------
    image : PIL.Image.Image
        RGB, `FACE_PIXELS` x `FACE_PIXELS` pixels.

    Example
    -------
    >>> from speechbrain_fv.corpora.embedded.identities import draw_identities
    >>> draw_face(draw_identities(1, seed=0)[0], clip=0).size
    (72, 72)
    """
    looks, rng = _draw_looks(identity), identity.face_clip_rng(clip)
    pose = draw_pose(rng)
    image = draw_background(rng)
    draw = ImageDraw.Draw(image)
    clothes = rng.integers(20, 236, size=3)

    outline = _head_outline(identity)
    _draw_back_hair(draw, pose, looks, outline)
    _draw_body(draw, pose, looks, outline, clothes)
    _draw_head(draw, pose, looks, outline, identity)
    _draw_eyes(draw, pose, looks, identity)
    _draw_brows(draw, pose, looks, identity)
    _draw_glasses(draw, pose, looks, identity)
    _draw_nose(draw, pose, looks, identity)
    _draw_mouth(draw, pose, looks, identity)
    _draw_front_hair(draw, pose, looks, outline, identity)
    image = image.resize((FACE_PIXELS, FACE_PIXELS), Image.Resampling.BOX)
    return photograph(image, rng)


def _draw_looks(identity):
    rng = identity.face_looks_rng()
    male = identity.gender == "m"
    hair = _HAIR[rng.choice(len(_HAIR), p=_HAIR_ODDS[identity.nationality])]
    hair = hair + rng.normal(0, 8, size=3)
    grey = np.clip(identity.seniority * 1.3 - 0.5 + rng.normal(0, 0.15), 0, 0.9)
    return _Looks(
        skin=np.array(_SKIN[identity.nationality]) * rng.normal(1, 0.05) + rng.normal(0, 4, size=3),
        hair=hair * (1 - grey) + _GREY * grey,
        iris=_EYES[rng.integers(len(_EYES))],
        hair_length=rng.beta(1, 7) if male else rng.beta(3, 1.7),
        hair_volume=rng.uniform(0.03, 0.14) if male else rng.uniform(0.08, 0.24),
        parting=rng.uniform(-1, 1),
        fringe=rng.uniform(0, 1),
        beard=max(0.0, rng.uniform(-1.2, 1)) if male else 0.0,
        glasses=rng.random() < 0.12 + 0.15 * identity.seniority,
    )


def _ellipse(centre, radii, num_points=40):
    angle = np.linspace(0, 2 * np.pi, num_points, endpoint=False)
    return np.asarray(centre) + np.asarray(radii) * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _fill(draw, pose, points, depth, colour):
    draw.polygon(pose.pixels(points, depth), fill=colour)


def _mirrored(points):
    """The shape and its mirror image about the vertical axis of the face."""
    points = np.asarray(points)
    return points, points * np.array([-1, 1])


def _colour(rgb, factor=1.0):
    return tuple(int(channel) for channel in np.clip(np.asarray(rgb) * factor, 0, 255))


def _head_outline(identity):
    """Outline [P, 2] of head and jaw, clockwise from the right temple."""
    male, traits = identity.gender == "m", identity.traits
    width = 0.72 + 0.15 * traits["size"] + (0.02 if male else -0.02)
    top = 0.98 - 0.06 * traits["pitch"]
    bottom = 0.98 - 0.2 * traits["pitch"]
    angle = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    squareness = 0.82 - 0.22 * traits["size"] + (-0.05 if male else 0.08)
    jaw = np.sign(cos) * np.abs(cos) ** squareness
    x = width * np.where(sin > 0, jaw, cos)
    return np.stack([x, np.where(sin > 0, bottom, top) * sin], axis=1)


def _draw_back_hair(draw, pose, looks, outline):
    """Hair behind head and shoulders: only from chin length on."""
    if looks.hair_length < 0.3:
        return
    width = outline[:, 0].max() + looks.hair_volume
    end = 0.3 + 1.1 * looks.hair_length
    crown = _ellipse((0, -0.25), (width, 0.85 + looks.hair_volume), 60)
    crown = crown[crown[:, 1] <= -0.2]
    flare = width * (1 + 0.15 * looks.hair_length)
    shape = np.concatenate([crown, [(flare, end), (-flare, end)]])
    order = np.argsort(np.arctan2(shape[:, 0], -(shape[:, 1] + 0.1)))
    _fill(draw, pose, shape[order], -0.05, _colour(looks.hair, 0.75))


def _draw_body(draw, pose, looks, outline, clothes):
    width = 0.55 * outline[:, 0].max()
    chin = outline[:, 1].max()
    shoulders = _ellipse((0, chin + 1.05), (1.35, 0.8), 60)
    neck = [(-width, 0.4), (width, 0.4), (1.1 * width, chin + 0.45), (-1.1 * width, chin + 0.45)]
    _fill(draw, pose, shoulders, -0.06, _colour(clothes))
    _fill(draw, pose, neck, -0.04, _colour(looks.skin, 0.78))
    _fill(
        draw,
        pose,
        _ellipse((0, chin + 0.4), (1.15 * width, 0.16)),
        -0.04,
        _colour(looks.skin, 0.78),
    )


def _draw_head(draw, pose, looks, outline, identity):
    width = outline[:, 0].max()
    for ear in _mirrored(_ellipse((width, 0.05), (0.11, 0.2))):
        _fill(draw, pose, ear, -0.06, _colour(looks.skin, 0.86))
    _fill(draw, pose, outline, 0, _colour(looks.skin))
    if looks.beard > 0:
        beard = outline[outline[:, 1] > 0.2] * np.array([0.98, 1.0])
        mix = 0.25 + 0.6 * looks.beard
        _fill(draw, pose, beard, 0, _colour(looks.skin * (1 - mix) + looks.hair * mix))
        cheeks = _ellipse((0, 0.12), (0.9 * width, 0.42 - 0.1 * looks.beard))
        _fill(draw, pose, cheeks, 0, _colour(looks.skin))
    for cheek in _mirrored(_ellipse((0.55 * width, 0.28), (0.15, 0.1))):
        _fill(draw, pose, cheek, 0.04, _colour(looks.skin * (1.02, 0.93, 0.92)))
    if identity.seniority > 0:
        _draw_wrinkles(draw, pose, looks, identity.seniority, width)


def _draw_wrinkles(draw, pose, looks, seniority, width):
    ink = _colour(looks.skin, 1 - 0.22 * seniority)
    bend = np.linspace(-1, 1, 9)
    for line in range(1 + round(2 * seniority)):
        brow = np.stack([0.5 * width * bend, -0.52 - 0.09 * line + 0.03 * bend**2], axis=1)
        draw.line(pose.pixels(brow, 0.06), fill=ink, width=4)
    for fold in _mirrored([(0.17, 0.22), (0.27, 0.36), (0.31, 0.5)]):
        draw.line(pose.pixels(fold, 0.09), fill=ink, width=5, joint="curve")


def _eye_centre(identity):
    """Centre of the right eye; the distance of the eyes shows the trait hiss."""
    return np.array([0.33 + 0.05 * identity.traits["hiss"], -0.12])


def _draw_eyes(draw, pose, looks, identity):
    """Eyes: their size shows the trait tempo."""
    radius = 0.155 + 0.065 * identity.traits["tempo"]
    opening = 0.62 * radius * pose.lids
    for eye in _mirrored([_eye_centre(identity)]):
        gaze = eye[0] + np.array([0.03 * pose.yaw, 0])
        for centre, radii, colour in (
            (eye[0], (1.14 * radius, 1.22 * opening), _colour(looks.skin, 0.6)),
            (eye[0], (radius, opening), (246, 246, 244)),
            (gaze, (0.6 * opening + 0.02, 0.85 * opening), _colour(looks.iris)),
            (gaze, (0.03 + 0.12 * radius, 0.03 + 0.12 * radius), (15, 12, 12)),
        ):
            _fill(draw, pose, _ellipse(centre, radii), 0.1, colour)


def _draw_brows(draw, pose, looks, identity):
    """Brows: their thickness and slant show the trait melody."""
    traits = identity.traits
    thickness = 0.085 + 0.06 * traits["melody"] + (0.01 if identity.gender == "m" else -0.01)
    along = np.linspace(-1, 1, 9)
    x, y = _eye_centre(identity)
    height = y - 0.26 - 0.04 * traits["tempo"] - pose.brow_raise
    middle = height + 0.05 * along**2 - 0.05 * traits["melody"] * along
    edges = [np.stack([x + 0.19 * along, middle + side * thickness / 2], 1) for side in (-1, 1)]
    for brow in _mirrored(np.concatenate([edges[0], edges[1][::-1]])):
        _fill(draw, pose, brow, 0.1, _colour(looks.hair, 0.7))


def _draw_glasses(draw, pose, looks, identity):
    if not looks.glasses:
        return
    x, y = _eye_centre(identity)
    for rim in _mirrored(_ellipse((x, y), (0.27, 0.22))):
        rim = pose.pixels(rim, 0.14)
        draw.line([*rim, rim[0]], fill=(40, 40, 45), width=4, joint="curve")
    draw.line(pose.pixels([(-0.07, y), (0.07, y)], 0.16), fill=(40, 40, 45), width=4)


def _draw_nose(draw, pose, looks, identity):
    """Nose: its length and width show the trait hiss."""
    hiss = identity.traits["hiss"]
    width, tip = 0.15 + 0.07 * hiss, 0.27 + 0.1 * hiss
    ridge = [(-0.035, -0.12), (0.035, -0.12), (0.8 * width, tip), (-0.8 * width, tip)]
    _fill(draw, pose, ridge, 0.16, _colour(looks.skin, 0.89))
    _fill(draw, pose, _ellipse((0, tip), (width, 0.085)), 0.18, _colour(looks.skin, 0.78))
    for nostril in _mirrored(_ellipse((0.5 * width, tip + 0.035), (0.3 * width, 0.03))):
        _fill(draw, pose, nostril, 0.18, _colour(looks.skin, 0.45))


def _draw_mouth(draw, pose, looks, identity):
    """Mouth: its fullness and width show the trait breath."""
    breath = identity.traits["breath"]
    width, lip = 0.28 + 0.09 * breath, 0.08 + 0.05 * breath
    centre = 0.63 - 0.08 * identity.traits["pitch"]
    along = np.linspace(-1, 1, 21)
    middle = centre - 0.06 * pose.smile * along**2
    arc = np.sqrt(1 - along**2)
    opening = 0.07 * pose.mouth_open * arc
    red = looks.skin * 0.55 + np.array((150, 40, 50)) * (0.4 if identity.gender == "f" else 0.28)

    def band(upper, lower, colour):
        points = np.concatenate(
            [
                np.stack([width * along, middle + upper], axis=1),
                np.stack([width * along, middle + lower], axis=1)[::-1],
            ]
        )
        _fill(draw, pose, points, 0.1, colour)

    band(-opening - lip * arc, opening + 1.15 * lip * arc, _colour(red))
    band(-opening - 0.012, opening + 0.012, _colour(looks.skin, 0.3))
    if pose.mouth_open > 0.3:
        band(-opening, -0.2 * opening, (240, 238, 232))


def _draw_front_hair(draw, pose, looks, outline, identity):
    """Cap of hair with its parting; it recedes with age in men."""
    width, top = outline[:, 0].max(), outline[:, 1].min()
    receding = 0.22 * identity.seniority if identity.gender == "m" else 0.0
    hairline = top + 0.42 - 0.14 * (1 - looks.fringe) - receding
    temple = -0.15 + 0.3 * min(looks.hair_length, 0.5)
    outer = _ellipse((0, 0), (width + looks.hair_volume, -top + looks.hair_volume), 120)
    outer = outer[outer[:, 1] < temple]
    outer = outer[np.argsort(outer[:, 0])]
    along = np.linspace(1, -1, 25)
    inner_width = 0.93 * width
    drop = (temple - hairline) * np.abs(along - 0.2 * looks.parting).clip(0, 1) ** 6
    inner = np.stack([inner_width * along, hairline + drop], axis=1)
    _fill(draw, pose, np.concatenate([outer, inner]), 0.03, _colour(looks.hair))
