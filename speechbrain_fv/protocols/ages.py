"""Ages in years -> age groups, by one rule wherever labels are read."""

import itertools
import math
import re
from numbers import Real

import numpy as np
import pandas as pd

from speechbrain_fv.data.schema import named

OLDEST = 130
YOUNGEST_IN_YEARS = 10  # if no number is as high, they are numbers of groups


def group_ages(ages, edges=None):
    """Returns the age group of every age: that of ages in years, and a group's name as it is.

    Years become decades, "30-39", or lie between edges: with [18, 40], "<18", "18-39" and "40+".
    Without edges, numbers that are all below 10 are numbers of groups and stay. A table has years
    or names of groups, not both.

    Arguments
    ---------
    ages : pandas.Series of str
        "" where unknown, which stays.
    edges : sequence of float, optional
        Increasing, in years; each begins a group.

    Returns
    -------
    pandas.Series of str
        With the index of ages.

    Raises
    ------
    ValueError
        If years stand beside names of groups, or an age or the edges cannot be.

    Example
    -------
    >>> group_ages(pd.Series(["31", "39.5", "", "62"])).tolist()
    ['30-39', '30-39', '', '60-69']
    >>> group_ages(pd.Series(["31", "62"]), edges=[18, 40]).tolist()
    ['18-39', '40+']
    >>> group_ages(pd.Series(["young", "old"])).tolist()
    ['young', 'old']
    """
    if edges is not None and not are_edges(edges):
        raise ValueError(f"age_edges: expected increasing years such as [18, 40], got {edges}")
    known = ages != ""
    years = pd.to_numeric(ages.where(known), errors="coerce")
    is_year = years.notna()
    if not is_year.any() or (not edges and years.max() < YOUNGEST_IN_YEARS):
        return ages
    if (is_year != known).any():
        groups = ages[known & ~is_year].unique()
        raise ValueError(
            f"age: expected years or names of groups, found years and {named(groups)}; write all "
            "as groups, or leave the others empty"
        )
    wrong = ages[is_year & ~years.between(0, OLDEST)].unique()
    if len(wrong):
        raise ValueError(
            f"age: expected years from 0 to {OLDEST}, found {named(wrong)}; leave what is unknown "
            "empty"
        )
    return ages.mask(is_year, years.map(_decade if not edges else lambda age: _between(age, edges)))


def first_year(group):
    """Returns a number by which age groups are in order; groups without a number come last.

    Example
    -------
    >>> sorted(["100-109", "old", "40+", "<18", "18-39", "20s"], key=first_year)
    ['<18', '18-39', '20s', '40+', '100-109', 'old']
    """
    number = re.search(r"\d+(\.\d+)?", group)
    if not number:
        return math.inf
    return float(number[0]) - group.startswith("<") / 2


def with_age_groups(table, edges=None):
    """Returns a table whose column ``age``, if it has one, holds groups, see `group_ages`.

    Example
    -------
    >>> with_age_groups(pd.DataFrame({"age": ["31", None]})).age.tolist()
    ['30-39', '']
    """
    if "age" not in table.columns:
        return table
    ages = table.age.astype(object).where(table.age.notna(), "").astype(str).str.strip()
    return table.assign(age=group_ages(ages, edges))


def are_edges(value):
    """Whether a value can be the edges of age groups: finite numbers that increase.

    Example
    -------
    >>> are_edges([18, 40.5]), are_edges([40, 18]), are_edges([True]), are_edges([])
    (True, False, False, False)
    """
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(edge, Real) and not isinstance(edge, bool) for edge in value)
        and all(map(math.isfinite, value))
        and all(low < high for low, high in itertools.pairwise(value))
    )


def _decade(age):
    return "" if np.isnan(age) else f"{int(age // 10 * 10)}-{int(age // 10 * 10 + 9)}"


def _between(age, edges):
    place = int(np.searchsorted(edges, age, side="right"))
    if np.isnan(age):
        return ""
    if place == 0:
        return f"<{edges[0]:g}"
    if place == len(edges):
        return f"{edges[-1]:g}+"
    low, high = edges[place - 1], edges[place]
    whole = float(low).is_integer() and float(high).is_integer()
    return f"{low:g}-{high - 1:g}" if whole else f"{low:g}-<{high:g}"
