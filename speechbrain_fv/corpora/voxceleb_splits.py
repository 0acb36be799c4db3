"""The identities of VoxCeleb1 and the splits of them that the literature names."""

from pathlib import Path

from speechbrain_fv.data.schema import SPLITS, check_columns
from speechbrain_fv.files import read_table

PUBLISHED_COUNTS = {
    "dimnet": {"train": 924, "valid": 112, "test": 189},
    "pins": {"train": 901, "valid": 100, "test": 250},
}
META_COLUMNS = {
    "VoxCeleb1 ID": "identity",
    "VGGFace1 ID": "name",
    "Gender": "gender",
    "Nationality": "nationality",
}
VOXCELEB_ID = r"id\d{5}"
# Of the 1251 identities of VoxCeleb1 the `dimnet` split leaves out these 26.
DIMNET_LEFT_OUT = """
10001 10002 10006 10077 10143 10144 10204 10260 10362 10363 10397 10398 10414
10528 10710 10762 10801 10807 10813 10973 11022 11035 11036 11124 11135 11146
"""
# Set 3, seen-heard test, consists of clips of training identities: a list of identities has none.
PINS_SETS = {"1": "train", "2": "valid", "4": "test"}


def named_split(meta, split, pins_split_file=None):
    """The identities of a named split.

    Arguments
    ---------
    meta : pandas.DataFrame
        What `read_meta` returned.
    split : str
        "dimnet" or "pins".
    pins_split_file : path, optional
        Needed for "pins", see `pins_split`.

    Returns
    -------
    dict of str to str
        Identity to split.

    Raises
    ------
    ValueError
        If the name is unknown, or the list for "pins" is not given or malformed.
    """
    if split not in PUBLISHED_COUNTS:
        raise ValueError(f"split: expected {' or '.join(PUBLISHED_COUNTS)}, got {split!r}.")
    if split == "dimnet":
        return dimnet_split(meta)
    if not pins_split_file:
        raise ValueError(
            "pins_split_file: needed for split = pins; give your copy of identity_splits.txt."
        )
    return pins_split(meta, pins_split_file)


def read_meta(meta_csv):
    """The identities of VoxCeleb1.

    Arguments
    ---------
    meta_csv : path
        `vox1_meta.csv`: tab separated, columns VoxCeleb1 ID, VGGFace1 ID, Gender, Nationality.

    Returns
    -------
    pandas.DataFrame
        Columns identity (idNNNNN), name (of VGGFace), gender and nationality.

    Raises
    ------
    ValueError
        If the file is absent, lacks a column or repeats an identity.
    """
    meta = check_columns(read_table(meta_csv, separator="\t"), list(META_COLUMNS), meta_csv)
    meta = meta.rename(columns=META_COLUMNS)[list(META_COLUMNS.values())]
    for column in ("identity", "name"):
        repeated = meta[column][meta[column].duplicated()]
        if len(repeated):
            raise ValueError(
                f"{meta_csv}, line {repeated.index[0] + 2}: {column} {repeated.iloc[0]!r} is "
                f"listed twice; keep one line."
            )
    return meta


def dimnet_split(meta):
    """The split of DIMNet, by first letter of the name: F-Z train, A-B valid, C-E test.

    Arguments
    ---------
    meta : pandas.DataFrame
        What `read_meta` returned; 26 of its identities are left out (`DIMNET_LEFT_OUT`).

    Returns
    -------
    dict of str to str
        Identity to split.

    Example
    -------
    >>> import pandas as pd
    >>> rows = {"identity": ["id10003", "id10005", "id11251"], "name": ["Aamir", "Cher", "Zoe"]}
    >>> dimnet_split(pd.DataFrame(rows))
    {'id10003': 'valid', 'id10005': 'test', 'id11251': 'train'}
    """
    left_out = {f"id{number}" for number in DIMNET_LEFT_OUT.split()}
    return {
        identity: "valid" if name[0] in "AB" else "test" if name[0] in "CDE" else "train"
        for identity, name in zip(meta.identity, meta.name, strict=True)
        if identity not in left_out
    }


def pins_split(meta, pins_split_file):
    """The split of Learnable PINs, from the user's copy of the published list.

    Arguments
    ---------
    meta : pandas.DataFrame
        What `read_meta` returned.
    pins_split_file : path
        `identity_splits.txt`, a line `name set` each: set 1 is train (901 identities), 2 valid
        (100) and 4 the unseen-unheard test (250).

    Returns
    -------
    dict of str to str
        Identity to split.

    Raises
    ------
    ValueError
        If the file is absent, or a line has another form, an unknown name or another set.
    """
    try:
        lines = Path(pins_split_file).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"pins_split_file {pins_split_file}: {error.strerror}.") from None
    identity_of = dict(zip(meta.name, meta.identity, strict=True))
    split_of = {}
    for number, line in enumerate(lines, start=1):
        name, _, code = line.strip().rpartition(" ")
        if name not in identity_of or code not in PINS_SETS or identity_of[name] in split_of:
            raise ValueError(
                f"{pins_split_file}, line {number}: expected a VGGFace name of the meta file, "
                f"once, and a set of {', '.join(PINS_SETS)}, got {line!r}; use the published file."
            )
        split_of[identity_of[name]] = PINS_SETS[code]
    return split_of


def coverage(split_of, faces, voices, split):
    """What of a named split is on disk, beside the published numbers of identities.

    Arguments
    ---------
    split_of : dict of str to str
        Identity to split.
    faces, voices : pandas.DataFrame
        Rows with `spk_id`.
    split : str
        Name of the split.

    Returns
    -------
    dict
        `identities`: per split the `published`, `listed` and `on_disk` numbers (with faces and
        voices); `missing_faces` and `missing_voices`: sorted identities that are not on disk.
    """
    with_faces, with_voices = set(faces.spk_id), set(voices.spk_id)
    counts = {}
    for part in SPLITS:
        listed = {identity for identity, name in split_of.items() if name == part}
        counts[part] = {
            "published": PUBLISHED_COUNTS[split][part],
            "listed": len(listed),
            "on_disk": len(listed & with_faces & with_voices),
        }
    return {
        "identities": counts,
        "missing_faces": sorted(split_of.keys() - with_faces),
        "missing_voices": sorted(split_of.keys() - with_voices),
    }
