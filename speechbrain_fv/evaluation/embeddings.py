"""Face and voice embeddings with the identity of each clip, and the file that holds them."""

from dataclasses import dataclass

import numpy as np

from speechbrain_fv.arrays import read_arrays
from speechbrain_fv.files import PathLike, replacing
from speechbrain_fv.names import check_look_alikes, names_of


@dataclass(frozen=True)
class Embeddings:
    """Face and voice embeddings with the identity of each clip, checked.

    Where all identities are "", nobody is known, as in the test of a challenge; then the clips are
    named, and only lists can be scored, see `labelled`.

    Arguments
    ---------
    face : array of shape (num_faces, dim)
        Numbers; only the direction of a row matters.
    voice : array of shape (num_voices, dim)
    face_identity : sequence of num_faces str
    voice_identity : sequence of num_voices str
    face_id : sequence of num_faces str, optional
        Names of the clips, each once; used in messages.
    voice_id : sequence of num_voices str, optional
    face_weight : array of shape (num_faces,), optional
        How much each face counts beside others of its person where clips are averaged, at least 0.
    voice_weight : array of shape (num_voices,), optional

    Raises
    ------
    ValueError
        If shapes disagree, an embedding is not finite or has norm zero, a clip is named twice, an
        identity is empty, a weight is negative or not finite, or no identity has both a face and a
        voice.

    Example
    -------
    >>> Embeddings(np.eye(2), np.eye(2), ["ann", "bob"], ["ann", "bob"]).identities
    ['ann', 'bob']
    """

    face: np.ndarray
    voice: np.ndarray
    face_identity: np.ndarray
    voice_identity: np.ndarray
    face_id: np.ndarray | None = None
    voice_id: np.ndarray | None = None
    face_weight: np.ndarray | None = None
    voice_weight: np.ndarray | None = None

    def __post_init__(self):
        for modality in ("face", "voice"):
            vectors = np.asarray(getattr(self, modality))
            if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
                raise ValueError(
                    f"{modality}: expected numbers of shape (clips, dim), got "
                    f"{vectors.dtype} of shape {vectors.shape}; stack one vector per clip."
                )
            labels = _labels(self, f"{modality}_identity", len(vectors))
            names = _labels(self, f"{modality}_id", len(vectors))
            _check_clips(modality, vectors, labels, names)
            object.__setattr__(self, modality, vectors)
            object.__setattr__(self, f"{modality}_identity", labels)
            object.__setattr__(self, f"{modality}_id", names)
            weights = _weights(self, modality, len(vectors))
            object.__setattr__(self, f"{modality}_weight", weights)
        if self.face.shape[1] != self.voice.shape[1]:
            raise ValueError(
                f"face has {self.face.shape[1]} values per clip, voice {self.voice.shape[1]}; "
                "embed both into one space."
            )
        check_look_alikes(self.identities, "embeddings")
        if not self.labelled:
            return
        for modality in ("face", "voice"):
            _check_labels(modality, getattr(self, f"{modality}_identity"))
        if not set(self.face_identity) & set(self.voice_identity):
            raise ValueError(
                "no identity has both a face and a voice: the first face belongs to "
                f"{self.face_identity[:1]}, the first voice to {self.voice_identity[:1]}; "
                "use the same names in face_identity and voice_identity."
            )

    @property
    def identities(self) -> np.ndarray:
        """The identities that have a face or a voice, sorted; none where nobody is known."""
        return sorted({*self.face_identity.tolist(), *self.voice_identity.tolist()} - {""})

    @property
    def labelled(self) -> bool:
        """Whether it is known who is on the clips; without names of clips it must be."""
        named = self.face_id is not None and self.voice_id is not None
        return bool(self.identities) or not named


def load_embeddings(path: PathLike) -> Embeddings:
    """Returns the `Embeddings` of an .npz file.

    Arguments
    ---------
    path : str or Path
        Arrays ``face``, ``voice``, ``face_identity``, ``voice_identity`` and optionally
        ``face_id``, ``voice_id``, ``face_weight``, ``voice_weight``; never pickled objects. Without
        either identity, but with both names, nobody is known.

    Raises
    ------
    ValueError
        If the file is no .npz, an array is missing or holds objects, or its content is not usable.
    FileNotFoundError
        If there is no such file.
    """
    required = ("face", "voice", "face_identity", "voice_identity")
    optional = ("face_id", "voice_id", "face_weight", "voice_weight")
    arrays, found = read_arrays(path, (*required, *optional))
    names = {"face_id", "voice_id"}
    if not {"face_identity", "voice_identity"} & set(arrays) and names <= set(arrays):
        for modality in ("face", "voice"):
            arrays[f"{modality}_identity"] = np.full(len(arrays[f"{modality}_id"]), "")
    missing = [key for key in required if key not in arrays]
    if missing:
        raise ValueError(f"{path}: arrays {missing} are missing, found {found}; add them.")
    try:
        return Embeddings(**arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def save_embeddings(path: PathLike, embeddings: Embeddings) -> None:
    """Writes embeddings where `load_embeddings` finds them; a killed run leaves no half file."""
    arrays = {key: value for key, value in vars(embeddings).items() if value is not None}
    with replacing(path) as file:
        np.savez(file, **arrays)


def _labels(embeddings, name, num_clips):
    """Returns one text per clip, or None where the optional ids are not given."""
    labels = getattr(embeddings, name)
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.shape != (num_clips,):
        raise ValueError(
            f"{name}: expected {num_clips} names, one per clip, got shape {labels.shape}."
        )
    return np.array(names_of(labels, name), dtype=str)


def _check_labels(modality, labels):
    """Raises ValueError naming the first clip of nobody, where others are of somebody."""
    rows = labels == ""
    if rows.any():
        raise ValueError(
            f"{modality}: row {int(rows.argmax())} has an empty identity; {int(rows.sum())} of "
            f"{len(rows)} rows do. Correct or remove them."
        )


def _weights(embeddings, modality, num_clips):
    """Returns one weight per clip, or None where none are given."""
    weights = getattr(embeddings, f"{modality}_weight")
    if weights is None:
        return None
    weights = np.asarray(weights)
    if weights.shape != (num_clips,) or weights.dtype.kind not in "fiu":
        raise ValueError(
            f"{modality}_weight: expected {num_clips} numbers, one per clip, got {weights.dtype} "
            f"of shape {weights.shape}"
        )
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        raise ValueError(
            f"{modality}_weight: row {int(wrong.argmax())} is {weights[wrong][0]:g}, expected a "
            "finite number of at least 0"
        )
    return weights.astype(np.float64)


def _check_clips(modality, vectors, labels, names):
    """Raises ValueError naming the first clip that is not usable."""
    with np.errstate(over="ignore"):
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    faults = {
        "holds NaN or infinity": ~np.isfinite(vectors).all(axis=1),
        "has norm zero or beyond float64": ~((norms > 0) & np.isfinite(norms)),
    }
    if names is not None:
        order = np.argsort(names, kind="stable")
        repeated = np.zeros(len(names), dtype=bool)
        repeated[order[1:]] = names[order[1:]] == names[order[:-1]]
        faults[f"repeats a {modality}_id"] = repeated
    for fault, rows in faults.items():
        if rows.any():
            row = int(rows.argmax())
            name = f" ({names[row]})" if names is not None else ""
            raise ValueError(
                f"{modality}: row {row}{name} of identity {str(labels[row])!r} {fault}; "
                f"{int(rows.sum())} of {len(rows)} rows do. Correct or remove them."
            )
