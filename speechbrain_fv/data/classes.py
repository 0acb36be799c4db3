"""Classes: what a loss may classify, as numbers, on the clips of both modalities."""

from dataclasses import dataclass

import numpy as np

from speechbrain_fv.data.schema import FACE_COLUMNS, UNKNOWN, VOICE_COLUMNS, clip_columns

CLIP_ATTRIBUTES = {"identity": "spk_id", "video": "video"}  # told by the clip's own row


@dataclass(frozen=True)
class Classes:
    """The classes of one attribute among the training identities.

    Arguments
    ---------
    column : str
        The column of a face or voice manifest that tells the class of a clip.
    index : dict of str to int
        Value of that column to class index, 0 to `num_classes` - 1; what it lacks is unknown, -1.
    labels : tuple of str
        The label of every class, such as ("f", "m"); in order of the class index.

    Example
    -------
    >>> import pandas as pd
    >>> gender = Classes("spk_id", {"ann": 0, "bob": 1}, labels=("f", "m"))
    >>> gender.of(pd.DataFrame({"spk_id": ["bob", "eve", "ann"]})).tolist()
    [1, -1, 0]
    """

    column: str
    index: dict
    labels: tuple

    @property
    def num_classes(self):
        """How many classes there are; 0 where no label is known."""
        return len(self.labels)

    def of(self, table):
        """Returns the class of every clip of a manifest; int64, shape (num_clips,), -1 unknown."""
        if self.column not in table.columns:
            return np.full(len(table), UNKNOWN)
        return table[self.column].map(self.index).fillna(UNKNOWN).to_numpy(np.int64)


def attributes_of(manifests):
    """Returns the names of the attributes that a corpus has columns for, identity first.

    They are "identity", "video", every column of identities.csv but the split, and every attribute
    of the clips, such as language. Whether a label is known says `missing_reason`.
    """
    columns = [name for name in manifests.identities.columns if name not in ("identity", "split")]
    names = ["identity", "video", *columns, *_clip_attributes(manifests)]
    return list(dict.fromkeys(names))


def _clip_attributes(manifests):
    """Returns the further columns of the training faces and voices."""
    columns = [
        *clip_columns(manifests.faces["train"], FACE_COLUMNS),
        *clip_columns(manifests.voices["train"], VOICE_COLUMNS),
    ]
    return list(dict.fromkeys(columns))


def training_classes(manifests, attributes):
    """The classes of attributes, numbered by the sorted labels of the training identities.

    Arguments
    ---------
    manifests : Manifests
        The corpus.
    attributes : iterable of str
        Columns of identities.csv; "identity"; "video" or another column of the clips' own rows,
        faces and voices together. One that the corpus lacks has no classes, see `missing_reason`.

    Returns
    -------
    dict of str to Classes
        In the order of `attributes`.
    """
    return {attribute: _classes(manifests, attribute) for attribute in attributes}


def missing_reason(manifests, attribute):
    """Why nothing can be classified by an attribute; None if a training label is known.

    Arguments
    ---------
    manifests : Manifests
        The corpus.
    attribute : str
        As in `training_classes`.

    Returns
    -------
    str or None
        One line without a remedy, such as "no training identity has a gender".
    """
    available = attributes_of(manifests)
    if attribute not in available:
        return f"the corpus has no attribute {attribute!r}; it has {', '.join(available)}"
    if _classes(manifests, attribute).num_classes:
        return None
    of_clips = attribute in CLIP_ATTRIBUTES or attribute in _clip_attributes(manifests)
    holder = "clip" if of_clips else "identity"
    return f"no training {holder} of the corpus has a known {attribute}"


def _classes(manifests, attribute):
    if attribute == "video" or attribute in _clip_attributes(manifests):
        tables = (manifests.faces["train"], manifests.voices["train"])
        labels = sorted({name for table in tables for name in table.get(attribute, ())} - {""})
        return Classes(attribute, _numbers(labels), tuple(labels))
    if attribute not in attributes_of(manifests):
        return Classes("spk_id", {}, ())
    identities = manifests.identities
    known = identities[(identities.split == "train") & (identities[attribute] != "")]
    labels = sorted(known[attribute].unique())
    numbers = _numbers(labels)
    index = dict(zip(known.identity, known[attribute].map(numbers).tolist(), strict=True))
    return Classes("spk_id", index, tuple(labels))


def _numbers(labels):
    return {label: number for number, label in enumerate(labels)}
