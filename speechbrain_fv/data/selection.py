"""Which clips of a split take part: those whose attributes have given values.

So a corpus in two languages trains on one of them and is tested on both.
"""

import numpy as np
import pandas as pd

from speechbrain_fv.data.schema import SPLITS, named


def spread_clips(table, most, seed=0):
    """At most so many rows of a table, spread evenly over its people.

    The first row of everybody comes before the second of anybody, in an order drawn from the seed;
    faces and voices of the same people leave the same people out, where there are too many.

    Arguments
    ---------
    table : pandas.DataFrame
        Rows with `spk_id`.
    most : int or None
        Rows that are kept, at least 1; None keeps all.
    seed : int

    Returns
    -------
    pandas.DataFrame
        The rows that are kept, in their order.

    Example
    -------
    >>> table = pd.DataFrame({"spk_id": list("aaaab")})
    >>> sorted(spread_clips(table, 3).spk_id), len(spread_clips(table, None))
    (['a', 'a', 'b'], 5)
    """
    if most is None or len(table) <= most:
        return table
    rng = np.random.default_rng(seed)
    people = np.unique(table.spk_id.to_numpy(str))
    turn = pd.Series(rng.permutation(len(people)), people)[table.spk_id].to_numpy()
    drawn = rng.permutation(len(table))
    round_of = pd.Series(drawn).groupby(turn).rank(method="first").to_numpy()
    return table.iloc[np.sort(np.lexsort((turn, round_of))[:most])]


def keep_clips(faces, voices, identities, keep, source):
    """The rows of a corpus whose attributes a split keeps, and how many it leaves out.

    Arguments
    ---------
    faces, voices : pandas.DataFrame
        Rows with `spk_id` and the attributes of the clips as columns.
    identities : pandas.DataFrame
        Columns identity and split.
    keep : dict of str to dict, or None
        Split to attribute to the value, or list of values, that it keeps:
        ``{"train": {"language": "English"}}``. A split that is not named keeps everything.
    source : str or path
        The corpus, for messages.

    Returns
    -------
    faces, voices : pandas.DataFrame
    left_out : dict of str to dict
        Split to the numbers of `faces` and `voices` left out; empty where `keep` is.

    Raises
    ------
    ValueError
        If a split, an attribute or a value is none of the corpus.

    Example
    -------
    >>> clips = pd.DataFrame({"ID": ["x", "y"], "spk_id": "ann", "language": ["English", "Urdu"]})
    >>> people = pd.DataFrame({"identity": ["ann"], "split": ["train"]})
    >>> kept, _, left_out = keep_clips(clips, clips, people, {"train": {"language": "Urdu"}}, "c")
    >>> kept.ID.tolist(), left_out
    (['y'], {'train': {'faces': 1, 'voices': 1}})
    """
    if not keep:
        return faces, voices, {}
    check_keep(keep, source)
    split_of = identities.set_index("identity").split
    tables, left_out = {"faces": faces, "voices": voices}, {}
    for split, wanted in keep.items():
        left_out[split] = {}
        for kind, table in tables.items():
            outside = (table.spk_id.map(split_of) == split) & ~matches(
                table, wanted, f"{source}: keep: {split}", (faces, voices)
            )
            left_out[split][kind] = int(outside.sum())
            tables[kind] = table[~outside]
    return tables["faces"], tables["voices"], left_out


def matches(table, wanted, where, among=None):
    """Whether each row has the wanted values of all attributes.

    Arguments
    ---------
    table : pandas.DataFrame
        With the attributes as columns; one that it lacks matches no row.
    wanted : dict of str to str or list of str
        Attribute to the value, or to several of which any will do. Letter case does not count.
    where : str
        What asks, for messages.
    among : sequence of pandas.DataFrame, optional
        The tables that may have the attributes and values; `table` alone by default.

    Returns
    -------
    pandas.Series of bool

    Raises
    ------
    ValueError
        If no table has the attribute, or none of them the value.

    Example
    -------
    >>> clips = pd.DataFrame({"language": ["English", "Urdu"]})
    >>> matches(clips, {"language": ["urdu", "English"]}, "set x").tolist()
    [True, True]
    >>> matches(clips, {"language": "Hindi"}, "set x")
    Traceback (most recent call last):
    ValueError: set x: language: expected one of English, Urdu, got 'Hindi'
    """
    among = [table] if among is None else among
    result = pd.Series(True, index=table.index)
    for name, values in wanted.items():
        values = [
            str(value) for value in (values if isinstance(values, list | tuple) else [values])
        ]
        known = [frame[name] for frame in among if name in frame.columns]
        if not known:
            columns = sorted({column for frame in among for column in frame.columns})
            raise ValueError(
                f"{where}: {name}: expected an attribute that the clips have, got {name!r}; there "
                f"are {named(columns)}"
            )
        known = sorted({value for column in known for value in column.unique()} - {""})
        meant = {value.casefold() for value in known}
        for value in values:
            if value.casefold() not in meant:
                raise ValueError(f"{where}: {name}: expected one of {named(known)}, got {value!r}")
        column = table[name] if name in table.columns else pd.Series("", index=table.index)
        result &= column.str.casefold().isin({value.casefold() for value in values})
    return result


def check_keep(keep, source):
    """Raises ValueError unless `keep` maps splits to mappings of attributes."""
    for split, wanted in keep.items():
        if split not in SPLITS or not isinstance(wanted, dict) or not wanted:
            raise ValueError(
                f"{source}: keep: expected splits of {', '.join(SPLITS)} with attributes, such as "
                f"{{train: {{language: English}}}}, got {split}: {wanted!r}"
            )
