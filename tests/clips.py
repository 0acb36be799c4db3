"""Embeddings of a few people, which the tests of the evaluation share."""

from dataclasses import replace

import numpy as np
import pandas as pd

from speechbrain_fv.evaluation.embeddings import Embeddings

THREE_PEOPLE = {
    "face": np.eye(3),
    "voice": np.eye(3),
    "face_identity": ["a", "b", "c"],
    "voice_identity": ["a", "b", "c"],
}
"""The least arguments of `Embeddings`."""


def people_with_clips(dim, num_people=12, seed=0):
    """Returns embeddings, some of them repeated, of people with every attribute."""
    rng = np.random.default_rng(seed)
    names = np.array([f"id{number}" for number in range(num_people)])
    faces, voices = rng.integers(0, num_people, 40), rng.integers(0, num_people, 50)
    vectors = rng.normal(size=(30, dim)).astype(np.float32)
    metadata = pd.DataFrame({"identity": names, "gender": "f", "nationality": "uk", "age": "20"})
    metadata.loc[::2, "gender"] = "m"
    metadata.loc[::3, "nationality"] = "us"
    rows = rng.integers(0, 30, 40), rng.integers(0, 30, 50)
    return Embeddings(vectors[rows[0]], vectors[rows[1]], names[faces], names[voices]), metadata


def with_faces_shuffled(embeddings, seed):
    """Returns the same clips, the faces in another order."""
    order = np.random.default_rng(seed).permutation(len(embeddings.face))
    return replace(
        embeddings,
        face=embeddings.face[order],
        face_identity=embeddings.face_identity[order],
        face_id=None if embeddings.face_id is None else embeddings.face_id[order],
    )
