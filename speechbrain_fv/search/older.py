"""Vectors of the indices that earlier versions saved: inverted lists (IVF) and HNSW of faiss."""

import numpy as np

from speechbrain_fv.search.coded import import_faiss

KINDS = ("ivf", "hnsw")


def vectors_of_index(path, count, dim):
    """Returns the vectors in a file of faiss in the order in which they were added.

    Arguments
    ---------
    path : Path
    count, dim : int
        Number and width of the vectors that it must hold.

    Returns
    -------
    vectors : array of shape (count, dim), float32

    Raises
    ------
    ValueError
        If the file is damaged or holds something else, or faiss is not installed.
    """
    faiss = import_faiss()
    before = faiss.get_deserialization_vector_byte_limit()
    faiss.set_deserialization_vector_byte_limit(path.stat().st_size)  # whatever a size in it says
    try:
        index = faiss.read_index(str(path))
    except (RuntimeError, MemoryError) as error:
        raise _refused(path, str(error).splitlines()[-1]) from error
    finally:
        faiss.set_deserialization_vector_byte_limit(before)
    if type(index) is faiss.IndexHNSWFlat:
        flat = faiss.downcast_index(index.storage)
        rows, parts = np.arange(flat.ntotal), [faiss.vector_to_array(flat.codes)]
    elif type(index) is faiss.IndexIVFFlat:
        lists = faiss.downcast_InvertedLists(index.invlists)
        sizes = [(number, lists.list_size(number)) for number in range(lists.nlist)]
        filled = [(number, size) for number, size in sizes if size]
        rows = [faiss.rev_swig_ptr(lists.get_ids(number), size) for number, size in filled]
        rows = np.concatenate([*rows, np.empty(0, np.int64)])
        parts = [
            faiss.rev_swig_ptr(lists.get_codes(number), size * lists.code_size)
            for number, size in filled
        ]
    else:
        raise _refused(path, f"it holds a {type(index).__name__}")
    values = np.concatenate([*parts, np.empty(0, np.uint8)])
    whole = values.nbytes == 4 * count * dim and np.array_equal(np.sort(rows), np.arange(count))
    if not whole:
        raise _refused(path, f"expected {count} vectors of width {dim}")
    vectors = np.empty((count, dim), np.float32)
    vectors[rows] = values.view(np.float32).reshape(count, dim)
    return vectors


def _refused(path, why):
    return ValueError(
        f"{path}: not a usable index ({why}); restore the gallery from a copy, or build it again"
    )
