"""A shelf as the data files and the manifest entry of a gallery, and back."""

import numpy as np

from speechbrain_fv.search.exact import ExactIndex
from speechbrain_fv.search.faiss_files import read_index, write_index
from speechbrain_fv.search.ids import Ids
from speechbrain_fv.search.shelf import Shelf
from speechbrain_fv.search.store import MANIFEST, part_file, read_array


def shelf_entry(shelf):
    """Returns what the manifest says of a shelf."""
    index = shelf.index
    return {
        "rows": len(index),
        "removed": len(index) - len(shelf),
        "kind": index.kind,
        "trained_on": index.trained_on,
    }


def shelf_parts(shelf):
    """Returns a function for each data file of a shelf, which fills it; see `save_parts`."""
    arrays = {"ids": shelf.ids.text, "offsets": shelf.ids.offsets}
    if not shelf.alive.all():
        arrays["removed"] = np.flatnonzero(~shelf.alive)
    if shelf.index.kind == "exact":
        arrays["vectors"] = shelf.index.vectors
    parts = {name: _array_writer(array) for name, array in arrays.items()}
    if shelf.index.kind != "exact":
        parts["index"] = lambda file: write_index(shelf.index, file)
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
    wanted = {"ids", "offsets", "vectors" if entry["kind"] == "exact" else "index"}
    wanted |= {"removed"} if entry.get("removed") else set()
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
        if entry["kind"] == "exact":
            index = ExactIndex(read_array(paths["vectors"], np.float32, 2, mmap))
            shape = index.vectors.shape
        else:
            count, trained_on = entry["rows"], entry["trained_on"]
            index = read_index(paths["index"], entry["kind"], dim, count, trained_on, mmap)
            shape = (count, dim)
        removed = None
        if "removed" in paths:
            removed = read_array(paths["removed"], np.int64, 1, mmap=False)
        _check(entry, dim, shape, ids, removed)
    except ValueError as error:
        message = str(error) if str(folder) in str(error) else f"{folder}: {modality}: {error}"
        raise ValueError(message) from error
    return Shelf(modality, dim, manifest["kind"], ids, index, removed)


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
