"""Three invented people, for visitors who have no files at hand."""

from pathlib import Path
from typing import NamedTuple

import soundfile

from speechbrain_fv.corpora.embedded import SAMPLE_RATE, draw_face, draw_identities, speak

NAMES = ("Kim", "Noa", "Sam")
SEED = 4  # not that of the corpus of the main job: no model has met them


class InventedPerson(NamedTuple):
    """Somebody whom a program drew and whose voice it synthesised.

    name : str
    files : dict of str to str
        The paths of a "face" and of a "voice".
    """

    name: str
    files: dict


def write_invented(folder):
    """Writes a face and a voice of each of three people, and returns them.

    Arguments
    ---------
    folder : path
        Is made.

    Returns
    -------
    people : list of InventedPerson

    Example
    -------
    >>> kim, noa, sam = write_invented(getfixture("tmp_path") / "invented")
    >>> kim.name, Path(kim.files["voice"]).name
    ('Kim', 'Kim.wav')
    """
    folder = Path(folder)
    folder.mkdir(parents=True)
    people = []
    for name, identity in zip(NAMES, draw_identities(len(NAMES), SEED), strict=True):
        face, voice = (str(folder / f"{name}.{suffix}") for suffix in ("png", "wav"))
        draw_face(identity, 0).save(face)
        soundfile.write(voice, speak(identity, 0), SAMPLE_RATE)
        people.append(InventedPerson(name, {"face": face, "voice": voice}))
    return people
