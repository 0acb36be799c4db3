"""A shelf as the data files and the manifest entry of a gallery, and back."""

import numpy as np

from speechbrain_fv.search import older
from speechbrain_fv.search.coded import CodedIndex, restored_codes
from speechbrain_fv.search.exact import ExactIndex
from speechbrain_fv.search.ids import Ids
from speechbrain_fv.search.shelf import Shelf
from speechbrain_fv.search.store import MANIFEST, part_file, read_array


def shelf_entry(shelf):
    """Returns what the manifest says of a shelf."""
    return {"rows": len(shelf.index), "kind": shelf.index.kind}


def shelf_parts(shelf):
    """Returns a function for each data file of a shelf, which fills it; see `save_parts`."""
    arrays = {"ids": shelf.ids.text, "offsets": shelf.ids.offsets, "vectors": shelf.index.vectors}
    if shelf.index.kind == "coded" and shelf.index.codes is not None:
        arrays["centroids"], arrays["codes"] = shelf.index.centroids, shelf.index.packed_codes
    parts = {name: _array_writer(array) for name, array in arrays.items()}
    return {(shelf.modality, name): fill for name, fill in parts.items()}


def load_shelf(folder, modality, manifest, mmap, verify):
    """Returns a shelf that was saved.

    Arguments
    ---------
    folder : path
    modality : str
    manifest : dict
        As `opened` yields it.
    mmap, verify : bool
        See `Gallery.load`.

    Raises
    ------
    ValueError
        If files are missing, damaged, or do not fit each other.
    """
    entry, dim = manifest[modality], manifest["embedding_dim"]
    old = entry["kind"] in older.KINDS
    wanted = {"ids", "offsets", "index" if old else "vectors"}
    wanted |= {"removed"} if entry.get("removed") else set()  # only earlier versions saved them
    if entry["kind"] == "coded" and "codes" in entry["files"]:  # there are none for a few vectors
        wanted |= {"centroids", "codes"}
    if set(entry["files"]) != wanted:
        raise ValueError(
            f"{folder}: {MANIFEST} lists {sorted(entry['files'])} for {modality}, expected "
            f"{sorted(wanted)}; restore the gallery from a copy, or build it again"
        )
    paths = {
        part: part_file(folder, modality, part, file, verify)
        for part, file in entry["files"].items()
    }
    try:
        ids = Ids(
            read_array(paths["ids"], np.uint8, 1, mmap),
            read_array(paths["offsets"], np.int64, 1, mmap),
        )
        if old:
            vectors = older.vectors_of_index(paths["index"], entry["rows"], dim)
        else:
            vectors = read_array(paths["vectors"], np.float32, 2, mmap)
        removed = None
        if "removed" in paths:
            removed = read_array(paths["removed"], np.int64, 1, mmap=False)
        _check(entry, dim, vectors.shape, ids, removed)
        if entry["kind"] != "coded":
            index = ExactIndex(vectors)
        elif "codes" not in paths:
            index = CodedIndex(vectors)
        else:
            centroids = read_array(paths["centroids"], np.float32, 1, mmap)
            packed = read_array(paths["codes"], np.uint8, 1, mmap)
            index = CodedIndex(vectors, restored_codes(centroids, packed, *vectors.shape))
    except ValueError as error:
        message = str(error) if str(folder) in str(error) else f"{folder}: {modality}: {error}"
        raise ValueError(message) from error
    kind = "auto" if manifest["kind"] in older.KINDS else manifest["kind"]
    return Shelf(modality, dim, kind, ids, index, removed)


def _check(entry, dim, shape, ids, removed):
    """Raises ValueError unless the parts of a shelf fit each other."""
    count = entry["rows"]
    if shape != (count, dim) or len(ids) != count:
        raise ValueError(
            f"the manifest tells of {count} vectors of width {dim}, the files hold {shape} and "
            f"{len(ids)} ids; restore the gallery from a copy, or build it again"
        )
    if removed is not None:
        in_order = (np.diff(removed) > 0).all() and removed[0] >= 0 and removed[-1] < count
        if len(removed) != entry["removed"] or not in_order:
            raise ValueError(
                "the list of removed rows is damaged; restore the gallery from a copy, or build "
                "it again"
            )


def _array_writer(array):
    return lambda file: np.lib.format.write_array(file, np.ascontiguousarray(array), (1, 0), False)
