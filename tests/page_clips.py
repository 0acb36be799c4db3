"""Clips for the page: what it is to rank, what it is to refuse, and the model's own ranking."""

import numpy as np
import soundfile
from PIL import Image

from speechbrain_fv.demo.limits import Limits
from tests.media import write_face, write_voice

LIMITS = Limits(megabytes=1, files=4, seconds=5)
FACES = [f"face{number}.jpg" for number in range(4)]
VOICES = [*(f"voice{number}.wav" for number in range(3)), "phone.ogg"]


def write_clips(folder):
    """Writes four faces and five voices, and files that cannot be used; returns the folder."""
    for number in range(4):
        write_face(folder / f"face{number}.jpg", seed=number)
        write_voice(folder / f"voice{number}.wav", 1.5, seed=number, level=0.1)
    stereo = np.random.default_rng(9).normal(0, 0.1, (16000, 2))
    soundfile.write(folder / "phone.ogg", stereo, 8000)
    write_voice(folder / "long.wav", 6, rate=8000)
    (folder / "text.jpg").write_text("no picture")
    (folder / "cut.wav").write_bytes((folder / "voice0.wav").read_bytes()[:30])
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    Image.fromarray(noise).save(folder / "large.png")
    assert (folder / "large.png").stat().st_size > LIMITS.bytes
    return folder


def files(folder, *names):
    """Returns the paths of clips."""
    return [folder / name for name in names]


def expected(model, folder, probe, names):
    """Returns [(name, score, probability)] of `match_files`, best first."""
    ranking = model.match_files(folder / probe, files(folder, *names))
    rows = zip(*(field.tolist() for field in ranking), strict=True)
    return [[names[index], score, probability] for index, score, probability in rows]


def same(shown, wanted):
    """Asserts that two rankings are equal, their numbers up to rounding."""
    assert [row[0] for row in shown] == [row[0] for row in wanted]
    numbers = [row[1:] for row in shown], [row[1:] for row in wanted]
    np.testing.assert_allclose(*numbers, atol=1e-6)
