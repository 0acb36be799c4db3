"""Approximate search by faiss: short codes of all vectors are compared, then the best vectors.

Two dimensions of a vector become 4 bits (product quantisation), 64 bytes at K = 256. A query is
compared with the codes of all vectors, and with the vectors of the best `CANDIDATES`. No vector is
left out unseen, as inverted lists and neighbour graphs do: those are made for queries that lie
among the vectors, and a voice lies far from every face.

faiss and torch each bring an OpenMP runtime (on Linux two copies of libgomp, each with its own
threads), and work side by side whichever is imported first.
"""

import importlib

import numpy as np

from speechbrain_fv.search.exact import ExactIndex
from speechbrain_fv.shipped import install_command

TRAINED_ON = 65536  # vectors that the codes are made for; with fewer, all vectors are compared
CANDIDATES = 1000  # vectors that a query is compared with, or 20 for each result
CHUNK = 65536  # vectors that become codes at once
BLOCK = 2**23  # values of candidates held at once
SEED = 0


class CodedIndex(ExactIndex):
    """Vectors as in `ExactIndex`, and a code of each.

    Arguments
    ---------
    vectors : array of shape (N, dim), float32
        May be memory-mapped.
    codes : faiss.IndexPQFastScan, optional
        Of the first rows; none by default.
    """

    kind = "coded"

    def __init__(self, vectors, codes=None):
        super().__init__(vectors)
        self.codes = codes

    def encode(self):
        """Makes the codes of the rows that have none; the first are made for a sample of all."""
        if self.codes is None and len(self) >= TRAINED_ON:
            rng = np.random.default_rng(SEED)
            rows = np.sort(rng.choice(len(self), TRAINED_ON, replace=False))
            self.codes = _empty_codes(self.vectors.shape[1])
            self.codes.train(self.vectors[rows])
        if self.codes is not None:
            for start in range(self.codes.ntotal, len(self), CHUNK):
                self.codes.add(np.ascontiguousarray(self.vectors[start : start + CHUNK]))

    def kept(self, mask):
        """Returns the index of the rows where a mask holds."""
        index = CodedIndex(self.vectors[mask])
        if len(index) >= TRAINED_ON and self.codes is not None:
            index.codes = _empty_codes(index.vectors.shape[1], self.centroids)
            index.encode()
        return index

    @property
    def centroids(self):
        """Array of shape (16 dim,), float32: what a code stands for."""
        return import_faiss().vector_to_array(self.codes.pq.centroids)

    @property
    def packed_codes(self):
        """Array of shape (bytes,), uint8: the codes as faiss packs them."""
        return _packed(self.codes)

    def search(self, queries, k, alive=None):
        """Returns the rows of about the k most similar vectors of each query.

        Arguments and result are those of `ExactIndex.search`. All vectors are compared where
        there are no codes, where the candidates are a tenth of the rows or more, and for queries
        of which fewer than k candidates are alive.
        """
        num = max(CANDIDATES, 20 * k)
        if self.codes is None or 10 * num > len(self):
            return super().search(queries, k, alive)
        rows = np.empty((len(queries), k), np.int64)
        step = max(1, BLOCK // (num * queries.shape[1]))
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            rows[part] = self._by_codes(np.ascontiguousarray(queries[part]), k, alive, num)
        return rows

    def _by_codes(self, queries, k, alive, num):
        candidates = self.codes.search(queries, num)[1]
        scores = np.einsum("bnd,bd->bn", self.take(candidates), queries)
        if alive is not None:
            scores[~alive[candidates]] = -np.inf
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        rows = np.take_along_axis(candidates, best, axis=1)
        few = np.isinf(np.take_along_axis(scores, best, axis=1)).any(axis=1)
        if few.any():
            rows[few] = super().search(queries[few], k, alive)
        return rows


def restored_codes(centroids, packed, count, dim):
    """Returns the codes of some vectors from what `CodedIndex` tells of them.

    Arguments
    ---------
    centroids : array of shape (16 dim,), float32
    packed : array of shape (bytes,), uint8
    count : int
        Number of vectors.
    dim : int

    Returns
    -------
    codes : faiss.IndexPQFastScan
        Any bytes are codes of some vectors, so that damaged ones lead to wrong candidates and
        never outside of the index.

    Raises
    ------
    ValueError
        If an array has another length than that, or faiss is not installed.
    """
    codes = _empty_codes(dim, np.zeros(16 * dim, np.float32))
    rounded = 32 * -(-count // 32)
    expected = (16 * dim,), (rounded // 2 * codes.M2,)
    if (centroids.shape, packed.shape) != expected:
        raise ValueError(
            f"expected centroids and codes of shapes {expected}, got {centroids.shape} and "
            f"{packed.shape}; restore the gallery from a copy, or build it again"
        )
    codes = _empty_codes(dim, centroids)
    codes.ntotal, codes.ntotal2 = count, rounded
    codes.codes.resize(len(packed))
    _packed(codes)[:] = packed
    return codes


def import_faiss():
    """Returns the module faiss; ValueError with what to install where it is missing."""
    try:
        return importlib.import_module("faiss")
    except ImportError:
        raise ValueError(
            f"approximate search needs faiss: {install_command('search')}; kind='exact' does "
            "without"
        ) from None


def _empty_codes(dim, centroids=None):
    faiss = import_faiss()
    num_parts = dim if dim % 2 else dim // 2
    codes = faiss.IndexPQFastScan(dim, num_parts, 4, faiss.METRIC_INNER_PRODUCT)
    codes.pq.cp.seed = SEED
    if centroids is not None:
        faiss.copy_array_to_vector(np.ascontiguousarray(centroids), codes.pq.centroids)
        codes.is_trained = True
    return codes


def _packed(codes):
    """Returns the bytes of codes, as a view."""
    return import_faiss().rev_swig_ptr(codes.codes.get(), codes.codes.size())
