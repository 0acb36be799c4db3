"""An index of faiss as a file, and what a file must hold before it is searched.

faiss follows the numbers of a file without asking whether they lie inside its arrays. So each is
checked here once: a damaged or made-up file is refused, and cannot lead a search astray.
"""

import os
from contextlib import contextmanager

import numpy as np

from speechbrain_fv.search.approximate import FaissIndex, import_faiss

BUFFER = 2**20  # bytes written at once


def write_index(index, file):
    """Writes a `FaissIndex` to an object with `write(bytes)`; its errors reach the caller."""
    faiss = import_faiss()
    faiss.write_index(index.index, faiss.PyCallbackIOWriter(file.write, BUFFER))


def read_index(path, kind, dim, count, trained_on, mmap):
    """Returns the `FaissIndex` of a file.

    Arguments
    ---------
    path : Path
    kind : str
        "ivf" or "hnsw".
    dim, count : int
        Width and number of the vectors that it must hold.
    trained_on : int
        See `FaissIndex`.
    mmap : bool
        Whether vectors and links stay in the file until they are needed.

    Raises
    ------
    ValueError
        If the file is damaged, or another index than that; or faiss is not installed.
    """
    faiss = import_faiss()
    try:
        with _no_array_above(path.stat().st_size):
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mmap else 0)
    except (RuntimeError, MemoryError) as error:
        raise _refused(path, str(error).splitlines()[-1]) from error
    expected = {"ivf": faiss.IndexIVFFlat, "hnsw": faiss.IndexHNSWFlat}[kind]
    if type(index) is not expected:
        raise _refused(path, f"it holds no {expected.__name__}")
    shape = (index.ntotal, index.d, index.metric_type)
    if shape != (count, dim, faiss.METRIC_INNER_PRODUCT):
        raise _refused(path, f"expected {count} vectors of width {dim}, it holds {shape[:2]}")
    sound = _is_sound_ivf(index, path) if kind == "ivf" else _is_sound_hnsw(index)
    if not sound:
        raise _refused(path, "its lists or links lead nowhere")
    return FaissIndex(index, trained_on, mapped=mmap)


@contextmanager
def _no_array_above(num_bytes):
    """Keeps faiss from allocating what a made-up size asks for: no array exceeds its file."""
    faiss = import_faiss()
    before = faiss.get_deserialization_vector_byte_limit()
    faiss.set_deserialization_vector_byte_limit(num_bytes)
    try:
        yield
    finally:
        faiss.set_deserialization_vector_byte_limit(before)


def _is_sound_ivf(index, path):
    """Whether each row lies once in the inverted lists, where the direct map says."""
    faiss = import_faiss()
    lists = faiss.downcast_InvertedLists(index.invlists)
    places = faiss.vector_to_array(index.direct_map.array)
    if (
        not _is_flat(index.quantizer, index.nlist, index.d)
        or type(lists) is not faiss.ArrayInvertedLists
        or (lists.nlist, lists.code_size) != (index.nlist, 4 * index.d)
        or (index.code_size, index.by_residual) != (4 * index.d, False)
        or index.direct_map.type != faiss.DirectMap.Array
        or len(places) != index.ntotal
    ):
        return False

    def lie_in(number, rows):
        inside = rows.min() >= 0 and rows.max() < index.ntotal
        return inside and np.array_equal(places[rows], (number << 32) + np.arange(len(rows)))

    sizes = [lists.list_size(number) for number in range(index.nlist)]
    if sum(sizes) != index.ntotal or not index.ntotal:
        return False
    # The file ends with the rows of the last list; faiss would map up to 6 bytes beyond its end.
    last = int(np.flatnonzero(sizes)[-1])
    with open(path, "rb") as file:
        file.seek(-8 * sizes[last], os.SEEK_END)
        if not lie_in(last, np.frombuffer(file.read(), np.int64)):
            return False
    return all(
        lie_in(number, faiss.rev_swig_ptr(lists.get_ids(number), size))
        for number, size in enumerate(sizes)
        if size
    )


def _is_sound_hnsw(index):
    """Whether each link leads to a row that has links on the same level."""
    faiss, graph = import_faiss(), index.hnsw
    levels, starts = map(faiss.vector_to_array, (graph.levels, graph.offsets))
    room = faiss.vector_to_array(graph.cum_nneighbor_per_level).astype(np.int64)
    if (
        not _is_flat(index.storage, index.ntotal, index.d)
        or (len(levels), len(starts)) != (index.ntotal, index.ntotal + 1)
        or not index.ntotal
        or not 0 <= graph.entry_point < index.ntotal
        or not len(room) > levels.max() == levels[graph.entry_point] == graph.max_level + 1
        or levels.min() < 1
        or room[0] != 0
        or (np.diff(room) < 0).any()
        or starts[0] != 0
        or not np.array_equal(np.diff(starts.astype(np.int64)), room[levels])
        or starts[-1] != graph.neighbors.size()
    ):
        return False
    links = faiss.rev_swig_ptr(graph.neighbors.data(), graph.neighbors.size())
    if links.min() < -1 or links.max() >= index.ntotal:
        return False
    for level in range(1, levels.max()):
        above = np.flatnonzero(levels > level)
        places = starts[above, None].astype(np.int64) + np.arange(room[level], room[level + 1])
        linked = links[places]
        if (levels[linked[linked >= 0]] <= level).any():
            return False
    return True


def _is_flat(index, count, dim):
    faiss = import_faiss()
    index = faiss.downcast_index(index)
    return (
        type(index) is faiss.IndexFlatIP
        and (index.ntotal, index.d, index.code_size) == (count, dim, 4 * dim)
        and index.codes.size() == 4 * dim * count
    )


def _refused(path, why):
    return ValueError(
        f"{path}: not a usable index ({why}); restore the gallery from a copy, or build it again"
    )
