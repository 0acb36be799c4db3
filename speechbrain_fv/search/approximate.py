"""Approximate search by faiss: inverted lists (IVF) and navigable small worlds (HNSW).

faiss and torch each bring an OpenMP runtime (on Linux two copies of libgomp, each with its own
threads), and work side by side whichever is imported first.
"""

import importlib
import math

import numpy as np

CHUNK = 65536  # vectors added at once
SEED = 0

# IVF: 4 sqrt(N) lists, trained on 64 vectors per list, 256 of them searched.
LISTS_PER_ROOT = 4
TRAINED_PER_LIST = 64
TRAINING_STEPS = 10
SEARCHED_LISTS = 256

# HNSW: links per vector and level, and the length of the candidate list.
NUM_LINKS = 32
BUILD_EFFORT = 40
SEARCH_EFFORT = 768


class FaissIndex:
    """Unit vectors in an index of faiss; row i is the i-th that was added.

    Arguments
    ---------
    index : faiss.IndexIVFFlat or faiss.IndexHNSWFlat
        With inner products; an IVF index with a direct map of type Array.
    trained_on : int
        Number of vectors when an IVF index was trained.
    mapped : bool
        Whether its arrays are memory-mapped; faiss ends the process when those are changed, so
        they are copied before.
    """

    def __init__(self, index, trained_on=0, mapped=False):
        self.index, self.trained_on, self.mapped = index, trained_on, mapped

    def __len__(self):
        return self.index.ntotal

    @property
    def kind(self):
        """ "ivf" or "hnsw"."""
        return "hnsw" if hasattr(self.index, "hnsw") else "ivf"

    def add(self, vectors):
        """Adds rows behind the others."""
        if self.mapped:
            faiss = import_faiss()
            self.index = faiss.deserialize_index(faiss.serialize_index(self.index))
            self.mapped = False
        self.index.add(np.ascontiguousarray(vectors, np.float32))

    def take(self, rows):
        """Returns the vectors of some rows."""
        return self.index.reconstruct_batch(np.ascontiguousarray(rows, np.int64))

    def kept(self, mask):
        """Returns the index of the rows where a mask holds; IVF keeps its lists as they are."""
        rows = np.flatnonzero(mask)
        if self.kind == "hnsw":
            return build_index("hnsw", self.index.d, len(rows), lambda part: self.take(rows[part]))
        faiss = import_faiss()
        lists = faiss.vector_to_array(self.index.direct_map.array)[rows] >> 32
        # The centres are copied: the old index takes its own with it.
        quantizer = faiss.IndexFlatIP(self.index.d)
        quantizer.add(self.index.quantizer.reconstruct_n(0, self.index.nlist))
        index = _empty_ivf(quantizer, self.index.d, self.index.nlist)
        for start in range(0, len(rows), CHUNK):
            part = slice(start, start + CHUNK)
            vectors, known = self.take(rows[part]), np.ascontiguousarray(lists[part])
            index.add_core(len(vectors), faiss.swig_ptr(vectors), None, faiss.swig_ptr(known))
        return FaissIndex(index, self.trained_on)

    def search(self, queries, k, alive=None):
        """Returns the rows of about the k most similar vectors of each query.

        Arguments and result are those of `ExactIndex.search`. Where k is a tenth of the rows or
        more, or the index finds fewer than k, all rows are compared.
        """
        rows = None
        if 10 * k < len(self):
            rows = self._search(queries, k, alive, everything=False)
        if rows is None or (rows < 0).any():
            rows = self._search(queries, k, alive, everything=True)
        return rows

    def _search(self, queries, k, alive, everything):
        faiss, options, index = import_faiss(), {}, self.index
        if alive is not None:
            bits = np.packbits(alive, bitorder="little")
            options["sel"] = faiss.IDSelectorBitmap(bits)
        if self.kind == "ivf":
            nprobe = max(SEARCHED_LISTS, 20 * k * index.nlist // len(self))
            options["nprobe"] = index.nlist if everything else min(nprobe, index.nlist)
            parameters = faiss.SearchParametersIVF(**options)
        elif everything:
            index, parameters = index.storage, faiss.SearchParameters(**options)
        else:
            options["efSearch"] = max(SEARCH_EFFORT, 2 * k)
            parameters = faiss.SearchParametersHNSW(**options)
        return index.search(queries, k, params=parameters)[1]


def build_index(kind, dim, count, take):
    """Returns an approximate index of some vectors.

    Arguments
    ---------
    kind : str
        "ivf" or "hnsw".
    dim : int
    count : int
        Number of vectors, at least 1.
    take : callable
        Takes rows (R,) of 0 .. count - 1 and returns their unit vectors (R, dim), float32.

    Returns
    -------
    FaissIndex
        The same for the same vectors, byte for byte; measured so with 1, 2 and 4 threads. What
        several threads link in HNSW may in principle depend on which is first.

    Raises
    ------
    ValueError
        If faiss is not installed.
    """
    faiss = import_faiss()
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(dim, NUM_LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = BUILD_EFFORT
    else:
        index = _trained_ivf(dim, count, take)
    for start in range(0, count, CHUNK):
        index.add(take(np.arange(start, min(start + CHUNK, count))))
    return FaissIndex(index, count if kind == "ivf" else 0)


def num_lists(count):
    """Returns the number of inverted lists for some vectors.

    Example
    -------
    >>> num_lists(1_000_000), num_lists(1)
    (4000, 1)
    """
    return max(1, min(round(LISTS_PER_ROOT * math.sqrt(count)), count // 39))


def _trained_ivf(dim, count, take):
    faiss, nlist = import_faiss(), num_lists(count)
    sample = np.arange(count)
    if count > TRAINED_PER_LIST * nlist:
        rng = np.random.default_rng(SEED)
        sample = np.sort(rng.choice(count, TRAINED_PER_LIST * nlist, replace=False))
    index = _empty_ivf(faiss.IndexFlatIP(dim), dim, nlist)
    index.cp.spherical, index.cp.niter, index.cp.seed = True, TRAINING_STEPS, SEED
    index.cp.min_points_per_centroid = 1  # no warning on standard error; `num_lists` sees to it
    index.train(take(sample))
    return index


def _empty_ivf(quantizer, dim, nlist):
    faiss = import_faiss()
    index = faiss.IndexIVFFlat(quantizer, dim, nlist, faiss.METRIC_INNER_PRODUCT)
    index.set_direct_map_type(faiss.DirectMap.Array)
    return index


def import_faiss():
    """Returns the module faiss; ValueError with what to install where it is missing."""
    try:
        return importlib.import_module("faiss")
    except ImportError:
        raise ValueError(
            "approximate search needs faiss: pip install 'speechbrain-fv[search]'; kind='exact' "
            "does without"
        ) from None
