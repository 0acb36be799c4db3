"""Strata of the field, from identity metadata: who may be whose negative.

U admits all, G those of the same gender, N of the same nationality, A of the same age group, GN
and GNA of all of them. Positives are never restricted. An identity with an unknown attribute
matches nobody in a stratum that asks for it.
"""

import numpy as np

from speechbrain_fv.corpora.own_data import one_spelling
from speechbrain_fv.data.schema import named
from speechbrain_fv.names import name_of
from speechbrain_fv.protocols.ages import with_age_groups

ATTRIBUTES = {"G": "gender", "N": "nationality", "A": "age"}
VERIFICATION_STRATA = ("U", "G", "N", "A", "GN", "GNA")
MATCHING_STRATA = ("U", "G", "N", "GN")


def stratum_attributes(stratum):
    """Returns the metadata columns in which both identities of a negative pair must agree.

    Arguments
    ---------
    stratum : str
        "U", or letters of "G", "N", "A" ("GN" for same gender and nationality).

    Returns
    -------
    tuple of str

    Raises
    ------
    ValueError
        If the name holds another letter or the same one twice.

    Example
    -------
    >>> stratum_attributes("GN")
    ('gender', 'nationality')
    """
    letters = "" if stratum == "U" else stratum
    if stratum == "" or set(letters) - set(ATTRIBUTES) or len(set(letters)) < len(letters):
        raise ValueError(f"stratum {stratum!r}: expected 'U' or letters of 'GNA', such as 'GN'.")
    return tuple(ATTRIBUTES[letter] for letter in letters)


def check_metadata(metadata, identities):
    """Returns the metadata as clean text, one row per identity in the order asked for.

    Ages in years become groups, see `ages.group_ages`. Genders and nationalities that differ in
    case or spaces are one label, as are m and male, f and female; see `own_data.one_spelling`.

    Arguments
    ---------
    metadata : pandas.DataFrame
        Columns ``identity`` and any of ``gender``, ``nationality``, ``age``; an empty or missing
        value is unknown. Other identities and columns are ignored.
    identities : sequence of str
        The identities that are evaluated.

    Returns
    -------
    pandas.DataFrame with index identities and the attribute columns present, "" where unknown

    Raises
    ------
    ValueError
        If the column ``identity`` is missing, an identity has two rows, an identity of the
        embeddings has none, or an age cannot be.

    Example
    -------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"identity": ["b", "a"], "gender": ["m", None]})
    >>> check_metadata(table, ["a", "b"])["gender"].tolist()
    ['', 'm']
    """
    if "identity" not in metadata.columns:
        raise ValueError(
            f"metadata: expected a column 'identity', found {list(metadata.columns)}; rename it."
        )
    columns = [name for name in ATTRIBUTES.values() if name in metadata.columns]
    table = metadata[["identity", *columns]]
    table = table.astype(object).where(table.notna(), "").astype(str)
    table = table.apply(lambda column: column.str.strip())
    table["identity"] = table.identity.map(name_of)
    for column in {"gender", "nationality"} & set(table.columns):
        table[column] = one_spelling(table[column], column)
    table = table.set_index("identity")
    repeated = table.index[table.index.duplicated()].unique()
    if len(repeated):
        raise ValueError(
            f"metadata: {len(repeated)} identities are listed twice ({named(repeated)}); "
            "keep one row each."
        )
    missing = [identity for identity in identities if identity not in table.index]
    if missing:
        raise ValueError(
            f"metadata: {len(missing)} of the {len(identities)} identities in the embeddings have "
            f"no row ({named(missing)}); add one each, its attributes may be empty."
        )
    return with_age_groups(table.loc[list(identities)])


def stratum_groups(metadata, stratum):
    """Returns a group number per identity: negatives are allowed within a group only.

    Arguments
    ---------
    metadata : pandas.DataFrame
        From `check_metadata`: num_identities rows.
    stratum : str
        See `stratum_attributes`; all its columns are present.

    Returns
    -------
    numpy.ndarray of shape (num_identities,), int64
        0, 1, ...; -1 where an attribute is unknown.

    Example
    -------
    >>> import pandas as pd
    >>> stratum_groups(pd.DataFrame({"gender": ["m", "f", "", "m"]}), "G").tolist()
    [1, 0, -1, 1]
    """
    attributes = list(stratum_attributes(stratum))
    if not attributes:
        return np.zeros(len(metadata), dtype=np.int64)
    values = metadata[attributes]
    known = (values != "").all(axis=1).to_numpy()
    groups = values.groupby(attributes).ngroup().to_numpy()
    # Numbered among the known only, so that groups count from 0 without gaps.
    result = np.full(len(metadata), -1, dtype=np.int64)
    result[known] = np.unique(groups[known], return_inverse=True)[1]
    return result


def no_trials_reason(stratum):
    """Returns why a stratum that the metadata defines may still have nothing to compare.

    Example
    -------
    >>> no_trials_reason("GN")
    'GN has no trials: no two people share gender and nationality, or nobody has face and voice'
    """
    shared = " and ".join(stratum_attributes(stratum))
    others = f"no two people share {shared}" if shared else "there is one person only"
    return f"{stratum} has no trials: {others}, or nobody has face and voice"


def undefined_reason(metadata, stratum):
    """Returns why the metadata cannot define a stratum, or None when it can.

    Arguments
    ---------
    metadata : pandas.DataFrame or None
        From `check_metadata`; None where there is no metadata.
    stratum : str
        See `stratum_attributes`.

    Returns
    -------
    str or None

    Example
    -------
    >>> import pandas as pd
    >>> undefined_reason(pd.DataFrame({"gender": ["m"]}), "GN")
    "the metadata has no column 'nationality'"
    """
    attributes = stratum_attributes(stratum)
    if not attributes:
        return None
    if metadata is None:
        return f"no metadata, which {stratum} needs for {' and '.join(attributes)}"
    for attribute in attributes:
        if attribute not in metadata.columns:
            return f"the metadata has no column {attribute!r}"
        if (metadata[attribute] == "").all():
            return f"{attribute!r} is unknown for every identity"
    return None
