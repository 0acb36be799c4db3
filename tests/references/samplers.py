"""The pair sampler on its own: the algorithm whose draws a seed stands for."""

import numpy as np


def draw_epoch(face_identities, voice_identities, num_pairs, sampling, seed, epoch):
    """Returns the (face, voice, draw) of an epoch, pair by pair.

    Every random number is taken from numpy in the order that makes a run repeatable: the round of
    identities or voices, then the clips of those identities, then the draws.
    """
    rng = np.random.default_rng([seed, epoch])
    identities = sorted(set(voice_identities))
    faces, voices = (
        {name: [n for n, other in enumerate(owners) if other == name] for name in identities}
        for owners in (face_identities, voice_identities)
    )

    def rounds(values):
        drawn = []
        while len(drawn) < num_pairs:
            drawn += [values[place] for place in rng.permutation(len(values))]
        return drawn[:num_pairs]

    def one_of_each(clips, names):
        places = rng.integers(np.array([len(clips[name]) for name in names]))
        return [clips[name][place] for name, place in zip(names, places, strict=True)]

    if sampling == "clips":
        chosen = rounds(range(len(voice_identities)))
        names = [voice_identities[voice] for voice in chosen]
    else:
        names = rounds(identities)
        chosen = one_of_each(voices, names)
    partners = one_of_each(faces, names)
    draws = rng.integers(2**32, size=num_pairs)
    return list(zip(partners, chosen, draws.tolist(), strict=True))
