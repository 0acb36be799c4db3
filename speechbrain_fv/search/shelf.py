"""One modality of a gallery: the names and the index of its embeddings."""

import itertools

import numpy as np
import torch

from speechbrain_fv.scores import unit as to_unit
from speechbrain_fv.search.coded import CHUNK, CodedIndex, import_faiss
from speechbrain_fv.search.compared import best_rows
from speechbrain_fv.search.exact import ExactIndex
from speechbrain_fv.search.ids import Ids
from speechbrain_fv.search.index import choose_kind

REMOVED_SHARE = 0.2  # of the rows; beyond it they are taken out of the index
TIES, MOST_TIES = 16, 4096  # candidates beyond k, so that equal scores at the end keep their order
ROUNDING = 1e-6  # of a cosine in float32
BLOCK = 2**23  # values that a search holds at once


class Shelf:
    """The embeddings of one modality, each under its own id.

    Removed rows stay in the index, and are passed over, until they are a fifth of it or `compact`
    takes them out. `choose_kind` decides when an exact index becomes a coded one; it stays one.

    Arguments
    ---------
    modality : str
        "face" or "voice"; used in messages.
    dim : int
    kind : str
        "auto" or one of `KINDS`.
    ids : Ids, optional
        Of the rows of `index`.
    index : ExactIndex or CodedIndex, optional
    removed : array of int64, optional
        Rows that are no longer there.
    compare : function of queries (B, dim) and rows (N, dim), float64 tensors, optional
        Returns scores (B, N). The rows are then the embeddings themselves, in an exact index;
        without it they are scaled to norm 1 and compared by cosines.
    """

    def __init__(self, modality, dim, kind, ids=None, index=None, removed=None, compare=None):
        self.modality, self.dim, self.kind = modality, dim, kind
        self.compare_by(compare)
        self.index = ExactIndex(np.empty((0, dim), np.float32)) if index is None else index
        self.ids = Ids.of([]) if ids is None else ids
        self.alive = np.ones(len(self.index), bool)
        if removed is not None:
            self.alive[removed] = False
        self._rows = None

    def compare_by(self, compare):
        """Takes another comparison than cosines; see `Shelf`."""
        self.compare, self.kind = compare, self.kind if compare is None else "exact"

    def __len__(self):
        return int(np.count_nonzero(self.alive))

    def __iter__(self):
        return itertools.compress(self.ids, self.alive)

    def __contains__(self, name):
        return name in self.rows

    @property
    def rows(self):
        """The row of each id, as a dict; made when first asked for."""
        if self._rows is None:
            rows = np.flatnonzero(self.alive).tolist()
            self._rows = dict(zip(self, rows, strict=True))
        return self._rows

    def add(self, names, vectors):
        """Adds embeddings behind the others, all or none.

        Arguments
        ---------
        names : list of N str
        vectors : array of shape (N, dim)
            Finite, not zero; of cosines only their direction matters.

        Raises
        ------
        ValueError
            If an id is there already, given twice or not text, or an embedding is not usable; or
            codes are needed and faiss is not installed.
        """
        self._check(names, vectors)
        if not names:
            return
        coded = choose_kind(len(self) + len(names), self.kind) == "coded"
        if coded and self.index.kind == "exact":
            import_faiss()  # before anything changes
            self.index = CodedIndex(self.index.vectors)
        ids = self.ids.extended(names)
        for start in range(0, len(names), CHUNK):
            self.index.add(self.rows_of(vectors[start : start + CHUNK]))
        if self.index.kind == "coded":
            self.index.encode()
        if self._rows is not None:
            self._rows.update(zip(names, range(len(self.ids), len(ids)), strict=True))
        self.ids = ids
        self.alive = np.concatenate([self.alive, np.ones(len(names), bool)])

    def remove(self, names):
        """Removes embeddings whose ids are all there."""
        rows = [self.rows.pop(name) for name in names]
        self.alive[rows] = False
        if len(self.alive) - len(self) > REMOVED_SHARE * len(self.alive):
            self.compact()

    def compact(self):
        """Takes removed rows out of the index."""
        if not self.alive.all():
            self.ids, self.index = self.ids.kept(self.alive), self.index.kept(self.alive)
            self.alive, self._rows = np.ones(len(self.ids), bool), None

    def search(self, queries, k):
        """Returns the ids and scores of the k most similar embeddings of each query, best first.

        Arguments
        ---------
        queries : array of shape (B, dim)
            As `rows_of` makes them.
        k : int
            At least 1; as many as there are when there are fewer.

        Returns
        -------
        ids : list of B lists of str
        scores : array of shape (B, k), float32
            Equal ones come in the order in which they were added; of more than 4096 equal cosines
            at the end, any may be left out.
        """
        k = min(k, len(self))
        block = max(1, BLOCK // max(CHUNK, k))
        search = self._search if self.compare is None else self._compared
        parts = [
            search(queries[start : start + block], k) for start in range(0, len(queries), block)
        ]
        rows, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
        return [[self.ids[row] for row in line] for line in rows.tolist()], scores

    def rows_of(self, vectors, names=None, modality="embedding"):
        """Returns embeddings as the index holds them; arguments and errors are those of `unit`."""
        if self.compare is None:
            return unit(vectors, names, modality)
        return checked(vectors, names, modality)[0].astype(np.float32)

    def _compared(self, queries, k):
        """Returns rows and scores by `compare`, which scores everything."""
        return best_rows(self.index.vectors, self.alive, queries, k, self.compare)

    def _search(self, queries, k, ties=TIES):
        """Returns rows and scores, with more candidates for queries whose last ones are equal."""
        rows, scores = self._ranked(queries, min(k + ties, len(self)))
        undecided = scores[:, -1] > scores[:, k - 1] - ROUNDING
        more = undecided.any() and rows.shape[1] < len(self) and ties < MOST_TIES
        rows, scores = rows[:, :k], scores[:, :k].astype(np.float32)
        if more:
            rows[undecided], scores[undecided] = self._search(queries[undecided], k, 16 * ties)
        return rows, scores

    def _ranked(self, queries, k):
        rows = self.index.search(queries, k, None if self.alive.all() else self.alive)
        # Scores are computed again in float64, pair by pair, so that a query has the same scores
        # alone, in any batch and with any index.
        scores = np.empty(rows.shape)
        flat, of_query = rows.ravel(), np.repeat(np.arange(len(rows)), k)
        step = max(1, BLOCK // self.dim)
        for start in range(0, len(flat), step):
            part = slice(start, start + step)
            products = self.index.take(flat[part]) * queries[of_query[part]].astype(np.float64)
            scores.ravel()[part] = products.sum(axis=1)
        order = np.lexsort((rows, -scores), axis=1)
        scores = np.take_along_axis(scores, order, axis=1).clip(-1, 1)
        return np.take_along_axis(rows, order, axis=1), scores

    def _check(self, names, vectors):
        """Raises ValueError unless embeddings may be added under these names."""
        if vectors.ndim != 2 or vectors.shape[1] != self.dim or vectors.dtype.kind not in "fiu":
            raise ValueError(
                f"{self.modality}: expected numbers of shape (N, {self.dim}), as the model makes "
                f"them, got {vectors.dtype} of shape {vectors.shape}"
            )
        if len(names) != len(vectors):
            raise ValueError(
                f"{self.modality}: expected as many ids as embeddings, got {len(names)} ids "
                f"and {len(vectors)} embeddings"
            )
        Ids.of(names)
        given = set()
        for name in names:
            if name in given or name in self.rows:
                place = "given twice" if name in given else "already in the gallery"
                raise ValueError(
                    f"{self.modality}: id {name!r} is {place}; choose another, or remove that first"
                )
            given.add(name)
        for start in range(0, len(names), CHUNK):
            part = slice(start, start + CHUNK)
            self.rows_of(vectors[part], names[part], self.modality)


def unit(vectors, names=None, modality="embedding"):
    """Returns vectors scaled to norm 1, float32.

    Arguments
    ---------
    vectors : array of shape (N, dim)
    names : list of N str, optional
        For messages; row numbers by default.
    modality : str
        For messages.

    Raises
    ------
    ValueError
        If a vector holds NaN or infinity, or is zero.

    Example
    -------
    >>> unit(np.array([[3.0, 4.0]]))
    array([[0.6, 0.8]], dtype=float32)
    """
    vectors, largest = checked(vectors, names, modality)
    # Scaled first, so that no square overflows or vanishes.
    return to_unit(torch.from_numpy(vectors / largest[:, None])).numpy().astype(np.float32)


def checked(vectors, names=None, modality="embedding"):
    """Returns vectors as float64, and the largest absolute value of each; see `unit`."""
    vectors = np.asarray(vectors).astype(np.float64)
    largest = np.abs(vectors).max(axis=1, initial=0)
    for fault, rows in (
        ("holds NaN or infinity", ~np.isfinite(largest)),
        ("is zero and has no direction", largest == 0),
    ):
        if rows.any():
            row = int(rows.argmax())
            name = f"row {row}" if names is None else f"id {names[row]!r}"
            raise ValueError(f"{modality}: the vector of {name} {fault}; correct or leave it out")
    return vectors, largest
