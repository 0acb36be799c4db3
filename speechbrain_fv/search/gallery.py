"""Galleries: many faces and voices under their ids, searched by the other modality."""

import logging
from collections.abc import Sequence
from typing import IO, Literal, NamedTuple, TypeVar

import numpy as np
import torch

from speechbrain_fv.files import PathLike
from speechbrain_fv.scores import Score, frozen, is_cosine
from speechbrain_fv.search import sources, store
from speechbrain_fv.search.compared import comparisons, saved_score
from speechbrain_fv.search.ids import id_list
from speechbrain_fv.search.index import KINDS
from speechbrain_fv.search.shelf import Shelf
from speechbrain_fv.search.shelf_files import load_shelf, shelf_entry, shelf_parts
from speechbrain_fv.search.sources import Model

Kind = Literal["auto", "exact", "coded"]
OnError = Literal["raise", "skip"]
Vectors = np.ndarray | torch.Tensor
File = PathLike | bytes | IO[bytes]
Query = File | Sequence[File] | Vectors
Names = str | Sequence[str]
Own = TypeVar("Own", bound="Gallery")

logger = logging.getLogger(__name__)


class Hits(NamedTuple):
    """The best of a gallery for a query, best first; unpacks into its two fields.

    ids : list of k str, or of B such lists for B queries
    scores : torch.Tensor of shape (k,), or (B, k), float32
        By the model's score: unless it has another one, cosines of f* and v*, in [-1, 1]; falling
        along the last axis.
    """

    ids: list
    scores: torch.Tensor


class Gallery:
    """Finds the faces for a voice, and the voices for a face, among many.

    >>> gallery = Gallery.from_folder(model, "people")  # doctest: +SKIP
    >>> ids, scores = gallery.query_voice("someone.wav", k=10)  # doctest: +SKIP

    A face, wherever one is an argument, is the file of an image or an embedding; a voice the file
    of a recording or an embedding. A file is a path, bytes, or a file opened for reading bytes.
    Several are a list of files, or embeddings (B, K). Pixels and waveforms in memory go through
    the model's `encode_face` and `encode_voice` first.

    All embeddings come from one version of one model. A face and a voice may share an id; two
    faces, or two voices, may not. Queries may run in several threads at once, changes may not.

    Arguments
    ---------
    model : FaceVoiceAssociation or str
        The model, or only its version; with that, embeddings are taken but no paths.
    embedding_dim : int, optional
        K; the model's by default.
    kind : str
        Index: "exact", "coded", or "auto" for the rule of size of `choose_kind`. A coded one needs
        faiss (extra ``search``), and cosines.
    score : Score, optional
        How a face and a voice are compared; the model's by default, the cosine where only its
        version is given.

    Raises
    ------
    ValueError
        If `kind` is another, K is not known, or the score cannot rank a gallery.

    Example
    -------
    >>> gallery = Gallery("version 1", embedding_dim=2)
    >>> gallery.add_face(["ann", "bob"], np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> gallery.query_voice(np.array([0.0, 2.0]), k=1)
    Hits(ids=['bob'], scores=tensor([1.]))
    """

    def __init__(
        self,
        model: Model | str,
        embedding_dim: int | None = None,
        kind: Kind = "auto",
        score: Score | None = None,
    ) -> None:
        if kind not in ("auto", *KINDS):
            raise ValueError(f"kind: expected auto, {', '.join(KINDS)}, got {kind!r}")
        self.model = None if isinstance(model, str) else model
        self.version = model if isinstance(model, str) else model.version
        dim = getattr(model, "embedding_dim", None) if embedding_dim is None else embedding_dim
        if not isinstance(dim, int) or dim < 1:
            raise ValueError(f"embedding_dim: expected the width of embeddings, got {dim!r}")
        self.embedding_dim, self.kind = dim, kind
        self.score = frozen(getattr(model, "score", None) if score is None else score)
        self.compare = comparisons(self.score, kind)
        self.shelves = {
            name: Shelf(name, dim, kind, compare=self.compare.get(name))
            for name in ("face", "voice")
        }
        self.skipped = []

    @classmethod
    def from_folder(
        cls: type[Own],
        model: Model,
        folder: PathLike,
        kind: Kind = "auto",
        on_error: OnError = "raise",
        detect_faces: bool | None = None,
        people: bool = False,
        weights: str | None = None,
    ) -> Own:
        """Returns a gallery of the images and recordings in a folder and the folders below it.

        The id is the path below the folder, with "/". Files that are neither, and no texts and no
        hidden files, are counted in a warning and listed in `skipped`; see `sources.in_folder`.

        Arguments
        ---------
        model : FaceVoiceAssociation
        folder : path
        kind : str
            See `Gallery`.
        on_error : str
            "raise": the first unusable file is an error. "skip": such files are left out and
            listed in `skipped`, as (modality, id, reason).
        detect_faces : bool, optional
            Whether to find the face in each image and crop to it; by default as in training.
        people : bool
            Whether there is one entry per person, the average of the clips, under the name of the
            person: each folder of the first level is one.
        weights : str, optional
            "measured" weighs the clips of a person as `encode_face_files` measures them; by default
            all count alike.

        Raises
        ------
        ValueError
            If there is no folder, no such file, or none that can be used; or one that cannot.
        """
        files, unused = sources.in_folder(folder)
        owners = sources.people_in(folder, files) if people else None
        gallery = cls._encoded(model, files, kind, on_error, detect_faces, owners, weights)
        if unused:
            logger.warning("%s: %d files are not used; see `skipped`", folder, len(unused))
        gallery.skipped += unused
        return gallery

    @classmethod
    def from_csv(
        cls: type[Own],
        model: Model,
        csv: PathLike,
        kind: Kind = "auto",
        on_error: OnError = "raise",
        detect_faces: bool | None = None,
        people: bool = False,
        weights: str | None = None,
    ) -> Own:
        """Returns a gallery of the files that a CSV lists.

        Its columns are `id`, and `face` or `wav` or both: paths, absolute or relative to the
        folder of the CSV; one of a row's two cells may be empty. With `people` the column
        `identity` tells whose they are. Others are ignored.

        Arguments and errors are those of `from_folder`; messages name the line. An error in the
        CSV itself, such as an id given twice, is never skipped.
        """
        files = sources.in_csv(csv)
        owners = sources.people_in(csv, files) if people else None
        return cls._encoded(model, files, kind, on_error, detect_faces, owners, weights)

    @classmethod
    def from_npz(cls: type[Own], model: Model | str, path: PathLike, kind: Kind = "auto") -> Own:
        """Returns a gallery of a file of embeddings, as `save_embeddings` writes it.

        Arguments
        ---------
        model : FaceVoiceAssociation or str
            What made the embeddings, or its version.
        path : path
            An .npz with `face` or `voice` (N, K) or both, and with the ids in `face_id` and
            `voice_id`; without those the ids are "face 0", "voice 0" and so on.
        kind : str
            See `Gallery`.

        Raises
        ------
        ValueError
            If the file or an embedding cannot be used.
        """
        return cls.from_embeddings(model, **sources.in_npz(path), kind=kind)

    @classmethod
    def from_embeddings(
        cls: type[Own],
        model: Model | str,
        face: Vectors | None = None,
        voice: Vectors | None = None,
        face_ids: Sequence[str] | None = None,
        voice_ids: Sequence[str] | None = None,
        kind: Kind = "auto",
    ) -> Own:
        """Returns a gallery of embeddings.

        Arguments
        ---------
        model : FaceVoiceAssociation or str
            What made them, or its version.
        face : array or torch.Tensor of shape (N, K), optional
        voice : array or torch.Tensor of shape (M, K), optional
        face_ids : list of N str, optional
            "face 0", "face 1" and so on by default.
        voice_ids : list of M str, optional
        kind : str
            See `Gallery`.

        Raises
        ------
        ValueError
            If neither is given, or as `add_face`.
        """
        given = {"face": (face, face_ids), "voice": (voice, voice_ids)}
        given = {modality: both for modality, both in given.items() if both[0] is not None}
        if not given:
            raise ValueError("from_embeddings: expected face or voice embeddings, got neither")
        gallery = None
        for modality, (vectors, ids) in given.items():
            vectors = sources.as_array(modality, vectors, axes=(2,))
            ids = [f"{modality} {row}" for row in range(len(vectors))] if ids is None else ids
            ids = id_list(ids)
            if gallery is None:
                gallery = cls(model, getattr(model, "embedding_dim", vectors.shape[1]), kind)
            gallery.shelves[modality].add(ids, vectors)
        return gallery

    @classmethod
    def load(
        cls: type[Own],
        folder: PathLike,
        model: Model | str,
        mmap: bool = True,
        verify: bool = False,
        score: Score | None = None,
    ) -> Own:
        """Returns a gallery that was saved.

        One that an earlier version saved with inverted lists or HNSW becomes exact; reading it
        needs faiss.

        Arguments
        ---------
        folder : path
        model : FaceVoiceAssociation or str
            What made its embeddings, or its version.
        mmap : bool
            Whether vectors stay on disk until a query needs them; what is read is shared between
            processes. Without it everything is read at once.
        verify : bool
            Whether to read each file and compare its SHA-256. Sizes, types and numbers are
            compared in any case.
        score : Score, optional
            See `Gallery`; with a version alone, needed for one with weights.

        Raises
        ------
        ValueError
            If there is no gallery, it is damaged, or another model, version or score made it.
        """
        version = model if isinstance(model, str) else model.version
        with store.opened(folder) as manifest:
            if manifest["model_version"] != version:
                raise ValueError(
                    f"{folder}: the gallery was made by model version "
                    f"{manifest['model_version']!r}, the model is version {version!r}; load that "
                    "version, or build the gallery again"
                )
            score = saved_score(folder, manifest, getattr(model, "score", score))
            gallery = cls(model, manifest["embedding_dim"], score=score)
            for modality in gallery.shelves:
                shelf = load_shelf(folder, modality, manifest, mmap, verify)
                shelf.compare_by(gallery.compare.get(modality))
                gallery.shelves[modality] = shelf
            gallery.kind = shelf.kind
        return gallery

    def save(self, folder: PathLike) -> None:
        """Writes the gallery; a crash at any point leaves the one that was there.

        Removed embeddings are not written.

        Arguments
        ---------
        folder : path
            A gallery that is there is replaced, other files stay. Waits for processes that are
            saving or loading there.

        Raises
        ------
        OSError
            If the disk is full or may not be written; a gallery that was there is whole.
        """
        parts = {}
        for shelf in self.shelves.values():
            shelf.compact()
            parts |= shelf_parts(shelf)
        header = {
            "model_version": self.version,
            "embedding_dim": self.embedding_dim,
            "kind": self.kind,
            **({} if is_cosine(self.score) else {"score": self.score.name}),
            **{modality: shelf_entry(shelf) for modality, shelf in self.shelves.items()},
        }
        store.save_parts(folder, header, parts)

    def add_face(self, ids: Names, face: Query) -> None:
        """Adds faces, all or none.

        Arguments
        ---------
        ids : str, or list of N str
        face : file or list of N files; or embeddings (K,) or (N, K)

        Raises
        ------
        ValueError
            If an id is already there, given twice or empty, a file cannot be used, or an embedding
            is zero, not finite or of another width.
        """
        self._add("face", ids, face)

    def add_voice(self, ids: Names, voice: Query) -> None:
        """Adds voices; see `add_face`."""
        self._add("voice", ids, voice)

    def remove(self, ids: Names) -> None:
        """Removes the faces and voices with these ids, all or none.

        Arguments
        ---------
        ids : str, or list of str

        Raises
        ------
        ValueError
            If an id is not in the gallery.
        """
        names = dict.fromkeys(id_list(ids))
        missing = [name for name in names if name not in self]
        if missing:
            raise ValueError(
                f"remove: {len(missing)} of {len(names)} ids are not in the gallery, the first is "
                f"{missing[0]!r}"
            )
        for shelf in self.shelves.values():
            shelf.remove([name for name in names if name in shelf])

    def query_face(self, face: Query, k: int = 10) -> "Hits":
        """Returns the voices that match a face best.

        Arguments
        ---------
        face : file or list of B files; or an embedding (K,) or (B, K)
        k : int
            How many, at least 1; all where there are fewer.

        Returns
        -------
        Hits
            Equal scores come in the order of adding. An exact index finds the best k, a coded one
            nearly always. One query has the same result alone and in any batch.

        Raises
        ------
        ValueError
            If the gallery has no voices, k is less than 1, the face cannot be used, or the score
            does not compare in this direction.
        """
        return self._query("face", "voice", face, k)

    def query_voice(self, voice: Query, k: int = 10) -> "Hits":
        """Returns the faces that match a voice best; see `query_face`."""
        return self._query("voice", "face", voice, k)

    def compact(self) -> None:
        """Takes what was removed out of the indices at once.

        Otherwise that happens when it is a fifth of them, and when the gallery is saved.
        """
        for shelf in self.shelves.values():
            shelf.compact()

    @property
    def face_ids(self) -> list[str]:
        """The ids of the faces, in the order of adding."""
        return list(self.shelves["face"])

    @property
    def voice_ids(self) -> list[str]:
        """The ids of the voices, in the order of adding."""
        return list(self.shelves["voice"])

    def __len__(self) -> int:
        """Number of faces and voices together."""
        return sum(map(len, self.shelves.values()))

    def __contains__(self, name: object) -> bool:
        """Whether a face or a voice has this id."""
        return any(name in shelf for shelf in self.shelves.values())

    def __repr__(self):
        face, voice = (f"{len(s)} {s.modality}s ({s.index.kind})" for s in self.shelves.values())
        return f"Gallery({face}, {voice}, model version {self.version!r})"

    @classmethod
    def _encoded(cls, model, files, kind, on_error, detect_faces, owners, weights):
        if weights not in (None, "measured"):
            raise ValueError(f"weights: expected 'measured' or None, got {weights!r}")
        gallery = cls(model, kind=kind)
        for modality, listed in files.items():
            if listed:
                measured = [] if owners and weights else None
                ids, vectors, skipped = sources.encode(
                    model, modality, listed, on_error, detect_faces, measured
                )
                if owners and ids:
                    people = [owners[name] for name in ids]
                    ids, vectors = sources.by_person(vectors, people, measured, gallery.score)
                gallery.shelves[modality].add(ids, vectors)
                gallery.skipped += skipped
        if not len(gallery):
            raise ValueError(
                f"none of {len(gallery.skipped)} files can be used; the first: "
                f"{gallery.skipped[0].reason}"
            )
        return gallery

    def _add(self, modality, ids, given):
        ids = id_list(ids)
        vectors, _ = sources.embeddings_of(self.model, modality, given)
        self.shelves[modality].add(ids, vectors)

    def _query(self, modality, other, given, k):
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise ValueError(f"k: expected a whole number of at least 1, got {k!r}")
        reason = self.score.unable("retrieval", "F-V" if modality == "face" else "V-F")
        if reason:
            raise ValueError(f"query_{modality}: {reason}")
        shelf = self.shelves[other]
        if not len(shelf):
            raise ValueError(f"query_{modality}: the gallery has no {other}s; add some first")
        vectors, single = sources.embeddings_of(self.model, modality, given)
        if vectors.ndim != 2 or vectors.shape[1] != self.embedding_dim or not len(vectors):
            raise ValueError(
                f"query_{modality}: expected embeddings of shape (B, {self.embedding_dim}), got "
                f"{tuple(vectors.shape)}; waveforms and images go through the model first"
            )
        ids, scores = shelf.search(shelf.rows_of(vectors, modality=f"query_{modality}"), int(k))
        scores = torch.from_numpy(scores)
        return Hits(ids[0], scores[0]) if single else Hits(ids, scores)
