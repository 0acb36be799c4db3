"""Slow counterparts of what the figures show; imports nothing of the package."""

import numpy as np


def cosine(first, second):
    """The cosine of two vectors."""
    return float(np.dot(first, second) / np.linalg.norm(first) / np.linalg.norm(second))


def histograms(faces, voices, face_people, voice_people, gender, num_bins):
    """Counts of positives, negatives and same-gender negatives over equal bins of [-1, 1]."""
    counts = {name: np.zeros(num_bins, dtype=int) for name in ("positives", "U", "G")}
    for face, face_person in zip(faces, face_people, strict=True):
        for voice, voice_person in zip(voices, voice_people, strict=True):
            place = min(int((cosine(face, voice) + 1) * num_bins / 2), num_bins - 1)
            if face_person == voice_person:
                counts["positives"][place] += 1
                continue
            counts["U"][place] += 1
            if gender[face_person] and gender[face_person] == gender[voice_person]:
                counts["G"][place] += 1
    return counts
