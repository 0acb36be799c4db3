"""Slow references of the losses: one pair and one class at a time, nothing of the package."""

import numpy as np


def softmax(logits):
    """Probabilities of one row of logits."""
    shifted = np.exp(np.array(logits) - max(logits))
    return shifted / shifted.sum()


def cross_entropy(logits, label):
    """-log p(label) of one row."""
    return -np.log(softmax(logits)[label])


def prototype_logits(samples, others, other_labels, q, tau):
    """cos(sample, o_c) / tau with o_c the mean of the unit-normalised others of cluster c."""
    logits = np.full((len(samples), q), -np.inf)
    for c in range(q):
        members = [
            o / np.linalg.norm(o) for o, n in zip(others, other_labels, strict=True) if n == c
        ]
        if members:
            centre = sum(members) / len(members)
            for i, sample in enumerate(samples):
                cosine = sample @ centre / (np.linalg.norm(sample) * np.linalg.norm(centre))
                logits[i, c] = cosine / tau
    return logits


def bi_directional(face_logits, voice_logits, face_labels, voice_labels):
    """Eq. 8 as a mean over pairs."""
    total = 0.0
    for i in range(len(face_logits)):
        total += cross_entropy(face_logits[i], voice_labels[i])
        total += cross_entropy(voice_logits[i], face_labels[i])
    return total / len(face_logits)


def agreement(face_logits, voice_logits):
    """Eq. 6 with predicted distributions."""
    total = 0.0
    for face, voice in zip(face_logits, voice_logits, strict=True):
        total += np.exp(-float(softmax(face) @ softmax(voice)))
    return total / len(face_logits)


def kl(face_logits, voice_logits):
    """Eq. 10 as a mean over pairs; classes at -inf in either are left out."""
    total = 0.0
    for face, voice in zip(face_logits, voice_logits, strict=True):
        kept = [c for c in range(len(face)) if np.isfinite(face[c]) and np.isfinite(voice[c])]
        p, r = softmax([face[c] for c in kept]), softmax([voice[c] for c in kept])
        total += 0.5 * (sum(p * np.log(p / r)) + sum(r * np.log(r / p)))
    return total / len(face_logits)


def identity(face_logits, voice_logits, labels):
    """Eq. 9 for one attribute, as a mean over pairs; label -1 adds nothing."""
    total = 0.0
    for face, voice, label in zip(face_logits, voice_logits, labels, strict=True):
        if label >= 0:
            total += cross_entropy(face, label) + cross_entropy(voice, label)
    return total / len(labels)


def infonce(faces, voices, identities, tau):
    """Both directions' -log softmax at the own pair, other pairs of the identity left out."""
    total = 0.0
    for queries, gallery in ((faces, voices), (voices, faces)):
        for i, query in enumerate(queries):
            kept = [
                j
                for j in range(len(gallery))
                if j == i or identities[j] != identities[i] or identities[i] == -1
            ]
            cosines = [
                query @ gallery[j] / (np.linalg.norm(query) * np.linalg.norm(gallery[j]))
                for j in kept
            ]
            total += cross_entropy([cosine / tau for cosine in cosines], kept.index(i))
    return total / len(faces)
