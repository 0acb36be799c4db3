"""Renders the faces of the embedded corpus: painted portraits.

Shapes are polygons in face units (origin between eyes and nose, y down, 1 = half the height of an
average head). They are moved by the pose, drawn four times too large and scaled down, which
smooths the edges. A second, blurred drawing holds the relief: sockets, the sides of the nose,
cheeks. The rounding of head and neck, light, camera noise and JPEG come last.
"""

from dataclasses import dataclass

import numpy as np

from speechbrain_fv.corpora.embedded.camera import draw_pose
from speechbrain_fv.corpora.embedded.painting import Canvas, band, colour, ellipse, mirrored

# Mean skin tone and probabilities of the hair colours, per nationality: they overlap.
_SKIN = {
    "Alvia": (226, 180, 144),
    "Borea": (244, 210, 192),
    "Cirrhia": (196, 146, 108),
    "Dorland": (150, 104, 76),
}
_HAIR = np.array([(38, 30, 28), (88, 56, 34), (146, 92, 48), (208, 170, 104), (152, 62, 32)])
_HAIR_ODDS = {
    "Alvia": (0.2, 0.5, 0.2, 0.1, 0.0),
    "Borea": (0.0, 0.05, 0.25, 0.45, 0.25),
    "Cirrhia": (0.5, 0.4, 0.05, 0.0, 0.05),
    "Dorland": (0.85, 0.15, 0.0, 0.0, 0.0),
}
_GREY = np.array((196, 194, 192))
_EYES = np.array([(70, 45, 28), (60, 105, 160), (70, 120, 70), (120, 85, 45), (45, 40, 40)])
_INK = (32, 24, 24)


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
    canvas = Canvas(draw_pose(rng), rng)
    clothes = np.clip(rng.uniform(30, 210) + rng.uniform(-45, 45, size=3), 10, 240)
    head = _head_outline(identity)
    _draw_back_hair(canvas, looks, head)
    _draw_body(canvas, looks, head, identity, clothes)
    _draw_head(canvas, looks, head, identity)
    _draw_nose(canvas, looks, identity)
    _draw_eyes(canvas, looks, identity)
    _draw_brows(canvas, looks, identity)
    _draw_mouth(canvas, looks, identity)
    _draw_front_hair(canvas, looks, head, identity)
    _draw_glasses(canvas, looks, identity)
    return canvas.develop(head, rng)


def _draw_looks(identity):
    rng = identity.face_looks_rng()
    male = identity.gender == "m"
    hair = _HAIR[rng.choice(len(_HAIR), p=_HAIR_ODDS[identity.nationality])]
    hair = hair + rng.normal(0, 8, size=3)
    grey = np.clip(identity.seniority * 1.3 - 0.5 + rng.normal(0, 0.15), 0, 0.9)
    return _Looks(
        skin=np.array(_SKIN[identity.nationality]) * rng.normal(1, 0.06) + rng.normal(0, 5, size=3),
        hair=hair * (1 - grey) + _GREY * grey,
        iris=_EYES[rng.integers(len(_EYES))],
        hair_length=rng.beta(1, 7) if male else rng.beta(3, 1.7),
        hair_volume=rng.uniform(0.03, 0.12) if male else rng.uniform(0.07, 0.2),
        parting=rng.uniform(-1, 1),
        fringe=rng.uniform(0, 1),
        beard=max(0.0, rng.uniform(-1.5, 1)) if male else 0.0,
        glasses=rng.random() < 0.08 + 0.12 * identity.seniority,
    )


def _head_outline(identity):
    """Outline [P, 2] of head and jaw, clockwise from the right temple: size and pitch."""
    male, traits = identity.gender == "m", identity.traits
    width = 0.72 + 0.15 * traits["size"] + (0.03 if male else -0.03)
    top = 0.97 - 0.05 * traits["pitch"]
    bottom = 0.97 - 0.23 * traits["pitch"]
    angle = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    squareness = 0.86 - 0.22 * traits["size"] + (-0.06 if male else 0.1)
    jaw = np.sign(cos) * np.abs(cos) ** squareness
    x = width * np.where(sin > 0, jaw, cos)
    return np.stack([x, np.where(sin > 0, bottom, top) * sin], axis=1)


def _draw_back_hair(canvas, looks, head):
    """Hair behind head and shoulders: only from chin length on."""
    if looks.hair_length < 0.3:
        return
    width = head[:, 0].max() + looks.hair_volume
    end = 0.3 + 1.1 * looks.hair_length
    crown = ellipse((0, -0.25), (width, 0.85 + looks.hair_volume), 60)
    crown = crown[crown[:, 1] <= -0.2]
    flare = width * (1 + 0.12 * looks.hair_length)
    sides = [(flare, end - 0.15), (0.8 * flare, end), (-0.8 * flare, end), (-flare, end - 0.15)]
    shape = np.concatenate([crown, sides])
    order = np.argsort(np.arctan2(shape[:, 0], -(shape[:, 1] + 0.1)))
    canvas.fill(shape[order], -0.05, colour(looks.hair, 0.68))
    for share in (0.72, 0.8, 0.88, 0.95):
        for strand in mirrored([(share * width, -0.1), (share * flare, end - 0.1)]):
            canvas.line(strand, -0.05, colour(looks.hair, 0.5 + 0.4 * share), 3)


def _draw_body(canvas, looks, head, identity, clothes):
    """Neck and shoulders: their breadth shows the trait size."""
    size = identity.traits["size"] + (0.25 if identity.gender == "m" else -0.25)
    neck, shoulder = 0.4 + 0.12 * size, 1.25 + 0.25 * size
    chin = head[:, 1].max()
    bust = ellipse((0, chin + 1.05), (shoulder, 0.8), 60)
    throat = [(-neck, 0.4), (neck, 0.4), (1.15 * neck, chin + 0.42), (-1.15 * neck, chin + 0.42)]
    canvas.fill(bust, -0.06, colour(clothes))
    canvas.fill(throat, -0.04, colour(looks.skin, 0.84))
    canvas.fill(ellipse((0, chin + 0.38), (1.15 * neck, 0.17)), -0.04, colour(looks.skin, 0.84))
    for collar in mirrored(
        [(1.15 * neck, chin + 0.3), (0.2, chin + 0.62), (1.4 * neck, chin + 0.42)]
    ):
        canvas.fill(collar, -0.05, colour(clothes, 0.78))
    shadow = head[head[:, 1] > 0.3] + np.array([0, 0.13])
    canvas.fill(shadow[np.abs(shadow[:, 0]) < neck], -0.03, colour(looks.skin, 0.6))


def _draw_head(canvas, looks, head, identity):
    """Head, ears, beard and wrinkles; flushed cheeks show the trait breath."""
    width = head[:, 0].max()
    for ear in mirrored(ellipse((width + 0.01, 0.03), (0.1, 0.2))):
        canvas.fill(ear, -0.06, colour(looks.skin, 0.9))
    for hollow in mirrored(ellipse((width + 0.035, 0.03), (0.045, 0.12))):
        canvas.fill(hollow, -0.06, colour(looks.skin, 0.68))
    canvas.fill(head, 0, colour(looks.skin))
    flush = 0.5 + 0.5 * identity.traits["breath"]
    for size in (1.25, 1.0, 0.75):  # softly, from outside to inside
        share = 0.1 * flush * (2.25 - size) / 0.75
        for cheek in mirrored(ellipse((0.6 * width, 0.3), (0.19 * size, 0.15 * size))):
            canvas.fill(cheek, 0.04, colour(looks.skin * (1, 1 - 1.1 * share, 1 - 0.9 * share)))
    if looks.beard > 0:
        mix = 0.2 + 0.6 * looks.beard
        beard = head[head[:, 1] > 0.25] * np.array([0.98, 1.0])
        bow = np.linspace(-0.97, 0.97, 20)
        upper = 0.5 - 0.1 * looks.beard - 0.1 * identity.traits["pitch"] - 0.15 * bow**4
        edge = np.stack([width * bow, upper], 1)
        beard = np.concatenate([beard, edge])
        canvas.fill(beard, 0, colour(looks.skin * (1 - mix) + 0.85 * looks.hair * mix))
    for bone in mirrored(ellipse((0.55 * width, 0.14), (0.16, 0.09))):
        canvas.shade(bone, 0.05, 0.1)
    canvas.shade(ellipse((0, -0.55), (0.35 * width, 0.14)), 0.05, 0.07)
    _draw_wrinkles(canvas, looks, identity.seniority, width)


def _draw_wrinkles(canvas, looks, seniority, width):
    if seniority == 0:
        return
    ink = colour(looks.skin, 1 - 0.28 * seniority)
    bend = np.linspace(-1, 1, 9)
    for line in range(1 + round(2 * seniority)):
        brow = np.stack([0.5 * width * bend, -0.5 - 0.08 * line + 0.03 * bend**2], axis=1)
        canvas.line(brow, 0.06, ink, 3)
    for fold in mirrored([(0.2, 0.26), (0.31, 0.4), (0.35, 0.55)]):
        canvas.line(fold, 0.09, ink, 4)
    for bag in mirrored(np.stack([0.33 + 0.14 * bend, 0.06 - 0.04 * bend**2], axis=1)):
        canvas.line(bag, 0.09, ink, 3)


def _eye_centre(identity):
    """Centre of the right eye; the distance of the eyes shows the trait nasal."""
    return np.array([0.345 + 0.05 * identity.traits["nasal"], -0.12])


def _draw_eyes(canvas, looks, identity):
    """Eyes: their size shows the trait tempo."""
    pose, (x, y) = canvas.pose, _eye_centre(identity)
    radius = 0.16 + 0.07 * identity.traits["tempo"]
    opening = 0.6 * radius * pose.lids
    along = np.linspace(-1, 1, 15)
    arc = 1 - np.abs(along) ** 2.2
    upper, lower = -1.1 * opening * arc, 0.8 * opening * arc
    for side in (-1, 1):
        centre, gaze = side * x, 0.03 * pose.yaw

        def almond(points, centre=centre):
            """The part of a shape, given from the eye's centre, that the lids leave visible."""
            at = np.clip(points[:, 0] / radius, -1, 1)
            height = np.clip(points[:, 1], np.interp(at, along, upper), np.interp(at, along, lower))
            return np.stack([centre + radius * at, y + height], 1)

        canvas.shade(ellipse((centre, y - 0.02), (1.35 * radius, 0.9 * radius)), 0.08, -0.16)
        canvas.fill(band(centre + radius * along, y + upper, y + lower), 0.1, (238, 236, 232))
        iris = 0.5 * radius + 0.015
        canvas.fill(almond(ellipse((gaze, -0.1 * opening), (iris, iris))), 0.1, colour(looks.iris))
        pupil = 0.5 * iris
        canvas.fill(almond(ellipse((gaze, -0.1 * opening), (pupil, pupil))), 0.1, (12, 10, 10))
        glint = (centre + gaze + 0.25 * iris, y - 0.5 * opening)
        canvas.fill(ellipse(glint, (0.02, 0.02), 8), 0.1, (250, 250, 250))
        lash = np.stack([centre + 1.05 * radius * along, y + upper], 1)
        canvas.line(lash, 0.1, _INK, 7 if identity.gender == "f" else 4)
        crease = np.stack([centre + radius * along, y + 1.0 * upper - 0.045], 1)
        canvas.line(crease[2:-2], 0.1, colour(looks.skin, 0.7), 3)
        under = np.stack([centre + radius * along, y + lower], 1)
        canvas.line(under, 0.1, colour(looks.skin, 0.62), 2)


def _draw_brows(canvas, looks, identity):
    """Brows: their thickness and slant show the trait melody."""
    traits = identity.traits
    thickness = 0.105 + 0.075 * traits["melody"] + (0.02 if identity.gender == "m" else -0.02)
    along = np.linspace(-1, 1, 11)
    x, y = _eye_centre(identity)
    height = y - 0.27 - 0.05 * traits["tempo"] - canvas.pose.brow_raise
    middle = height + 0.06 * along**2 - 0.09 * traits["melody"] * along
    taper = thickness / 2 * np.sqrt(np.clip(1.02 - 0.55 * (along + 1) / 2 - 0.4 * along**8, 0, 1))
    for brow in mirrored(band(x + 0.22 * along, middle - taper, middle + taper)):
        canvas.fill(brow, 0.1, colour(looks.hair, 0.5))


def _draw_glasses(canvas, looks, identity):
    if not looks.glasses:
        return
    x, y = _eye_centre(identity)
    for rim in mirrored(ellipse((x, y), (0.27, 0.22))):
        canvas.line([*rim, rim[0]], 0.14, (40, 40, 45), 4)
    canvas.line([(0.27 - x, y), (x - 0.27, y)], 0.16, (40, 40, 45), 4)


def _draw_nose(canvas, looks, identity):
    """Nose: its length and width show the trait nasal."""
    nasal = identity.traits["nasal"]
    width, tip = 0.16 + 0.075 * nasal, 0.27 + 0.11 * nasal
    for flank in mirrored([(0.03, -0.2), (0.1, -0.12), (1.05 * width, tip), (0.45 * width, tip)]):
        canvas.shade(flank, 0.14, -0.16)
    canvas.shade([(-0.025, -0.1), (0.025, -0.1), (0.05, tip), (-0.05, tip)], 0.17, 0.14)
    for wing in mirrored(ellipse((0.72 * width, tip), (0.36 * width, 0.07))):
        canvas.fill(wing, 0.17, colour(looks.skin, 0.8))
    canvas.fill(ellipse((0, tip + 0.045), (0.75 * width, 0.06)), 0.18, colour(looks.skin, 0.66))
    canvas.fill(ellipse((0, tip - 0.015), (0.55 * width, 0.075)), 0.19, colour(looks.skin, 0.95))
    for nostril in mirrored(ellipse((0.5 * width, tip + 0.05), (0.26 * width, 0.028), 12)):
        canvas.fill(nostril, 0.18, colour(looks.skin, 0.32))


def _draw_mouth(canvas, looks, identity):
    """Mouth: its fullness, width and colour show the trait breath."""
    pose, breath = canvas.pose, identity.traits["breath"]
    width, lip = 0.29 + 0.11 * breath, 0.09 + 0.06 * breath
    centre = 0.62 - 0.1 * identity.traits["pitch"]
    along = np.linspace(-1, 1, 21)
    arc = np.sqrt(1 - along**2)
    middle = centre - 0.06 * pose.smile * along**2
    gap = 0.08 * pose.mouth_open * arc
    bow = lip * arc * (1 - 0.35 * np.exp(-((along / 0.22) ** 2)))
    red = 0.4 + 0.22 * breath + (0.06 if identity.gender == "f" else -0.06)
    lips = looks.skin * (0.95 - 0.85 * red) + np.array((165, 30, 45)) * red
    x = width * along
    canvas.shade(ellipse((0, centre + 0.08 + 1.5 * lip), (0.5 * width, 0.06)), 0.08, -0.15)
    canvas.fill(band(x, middle - gap - bow, middle + 0.01), 0.1, colour(lips, 0.84))
    canvas.fill(band(x, middle - 0.01, middle + gap + 1.2 * lip * arc), 0.1, colour(lips, 1.03))
    canvas.fill(band(x, middle - gap - 0.012, middle + gap + 0.012), 0.1, colour(lips, 0.3))
    if pose.mouth_open > 0.3:
        teeth = band(0.85 * x, middle - gap, middle - 0.1 * gap)
        canvas.fill(teeth, 0.1, (232, 228, 220))
    shine = ellipse((0, centre + 0.06 * pose.mouth_open + 0.6 * lip), (0.4 * width, 0.3 * lip))
    canvas.shade(shine, 0.11, 0.12)


def _draw_front_hair(canvas, looks, head, identity):
    """Cap of hair with its parting; it recedes with age in men."""
    width, top = head[:, 0].max(), head[:, 1].min()
    receding = 0.25 * identity.seniority if identity.gender == "m" else 0.0
    hairline = top + 0.42 - 0.14 * (1 - looks.fringe) - receding
    temple = -0.15 + 0.3 * min(looks.hair_length, 0.5)
    outer = ellipse((0, 0), (width + looks.hair_volume, -top + looks.hair_volume), 120)
    outer = outer[outer[:, 1] < temple]
    outer = outer[np.argsort(outer[:, 0])]
    along = np.linspace(1, -1, len(outer))
    drop = (temple - hairline) * np.abs(along - 0.2 * looks.parting).clip(0, 1) ** 6
    inner = np.stack([0.93 * width * along, hairline + drop], axis=1)
    canvas.fill(np.concatenate([outer, inner]), 0.03, colour(looks.hair))
    for number in range(2, len(outer) - 2, 3):  # strands, from the parting outwards
        start, end = inner[::-1][number], outer[number]
        tone = (0.8, 1.12, 0.92)[number // 3 % 3]
        canvas.line([start, 0.5 * (start + end), end], 0.03, colour(looks.hair, tone), 3)
    shine = ellipse((0.3 * width * looks.parting, top + 0.1), (0.5 * width, 0.07))
    canvas.shade(shine, 0.0, 0.2)
