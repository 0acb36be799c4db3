"""Who the people of the embedded corpus are: their labels and hidden traits.

A person is drawn once and handed to two generators that know nothing of each other: the face
renderer and the voice synthesiser. What makes a face match a voice is therefore exactly this
record's `gender`, `nationality`, `age` and `traits`; all else either generator draws for itself.
"""

from dataclasses import dataclass

import numpy as np

GENDERS = ("m", "f")
NATIONALITIES = ("Alvia", "Borea", "Cirrhia", "Dorland")  # invented: no people is mocked
# Three generations: with 24 groups of gender, nationality and age, each of 100 people meets about
# three others of the own group, which the strata need.
AGES = ("20s", "40s", "60s")

# Hidden trait -> what a larger value does to the face; to the voice.
SHARED_TRAITS = {
    "size": (
        "wider head, squarer jaw, thicker neck, broader shoulders",
        "longer vocal tract: lower formants",
    ),
    "pitch": ("shorter face, higher mouth", "higher fundamental frequency"),
    "tempo": ("larger eyes", "more syllables per second, shorter pauses"),
    "breath": ("fuller, wider, redder mouth, flushed cheeks", "breathier, softer voicing"),
    "nasal": ("longer, wider nose, eyes apart", "more nasal sounds"),
    "melody": ("thicker, more slanted brows", "wider pitch movement, stronger stress"),
}

# First words of the seed sequences: no two streams of random numbers coincide.
_PEOPLE, _FACE_LOOKS, _VOICE_HABITS, _FACE_CLIP, _VOICE_CLIP = range(5)


@dataclass(frozen=True)
class Identity:
    """One person of the embedded corpus.

    Arguments
    ---------
    name : str
        Label used in manifests and file names, such as `p0007`.
    index : int
        Position in the corpus, from 0.
    seed : int
        Seed of the corpus, >= 0.
    gender : str
        One of `GENDERS`.
    nationality : str
        One of `NATIONALITIES`.
    age : str
        One of `AGES`.
    traits : dict
        Hidden trait -> value in [-1, 1], for each of `SHARED_TRAITS`.
    """

    name: str
    index: int
    seed: int
    gender: str
    nationality: str
    age: str
    traits: dict

    @property
    def seniority(self):
        """Age as a number in [0, 1]: 0 for the twenties, 1 for the sixties."""
        return AGES.index(self.age) / (len(AGES) - 1)

    def face_looks_rng(self):
        """Generator of what only the face has (hair, eyes, glasses); the same at every call."""
        return np.random.default_rng([_FACE_LOOKS, self.seed, self.index])

    def voice_habits_rng(self):
        """Generator of what only the voice has (voice quality, cadence); the same at every call."""
        return np.random.default_rng([_VOICE_HABITS, self.seed, self.index])

    def face_clip_rng(self, clip):
        """Generator of the nuisance of face number `clip`; the same at every call."""
        return np.random.default_rng([_FACE_CLIP, self.seed, self.index, clip])

    def voice_clip_rng(self, clip):
        """Generator of the nuisance and the words of voice clip `clip`; the same at every call."""
        return np.random.default_rng([_VOICE_CLIP, self.seed, self.index, clip])


def draw_identities(num_identities, seed):
    """Returns the people of the corpus; labels and traits are independent, labels are uniform.

    A trait is the sine of a uniform angle: marked features are more frequent than middling ones.
    A longer list begins with the shorter one of the same seed.

    Arguments
    ---------
    num_identities : int
        Number of people, >= 1.
    seed : int
        Seed of the corpus, >= 0.

    Returns
    -------
    identities : list of Identity

    Example
    -------
    >>> first, second = draw_identities(2, seed=7)
    >>> first.name, second.name
    ('p0000', 'p0001')
    >>> draw_identities(3, seed=7)[:2] == [first, second]
    True
    """
    identities = []
    for index in range(num_identities):
        rng = np.random.default_rng([_PEOPLE, seed, index])
        identities.append(
            Identity(
                name=f"p{index:04d}",
                index=index,
                seed=seed,
                gender=str(rng.choice(GENDERS)),
                nationality=str(rng.choice(NATIONALITIES)),
                age=str(rng.choice(AGES)),
                traits={
                    trait: float(np.sin(np.pi / 2 * rng.uniform(-1, 1))) for trait in SHARED_TRAITS
                },
            )
        )
    return identities
