"""The rows of a table in arrays, which the reading processes share.

A dict per row, or a column of Python texts, is copied into every process that reads it, page by
page, because Python counts the references of each object where the object lies. An array has one
object however long it is.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd


class Rows(Mapping):
    """Row number -> its cells, a dict, made when it is asked for.

    Arguments
    ---------
    table : pandas.DataFrame
        Columns of numbers or of text.
    **constants
        Cells that every row has besides.

    Example
    -------
    >>> rows = Rows(pd.DataFrame({"ID": ["a", "Zoë"], "start": [0, 16000]}), draw=None)
    >>> rows[1]
    {'ID': 'Zoë', 'start': 16000, 'draw': None}
    >>> len(rows), list(rows)
    (2, [0, 1])
    """

    def __init__(self, table, **constants):
        self.num_rows, self.constants = len(table), constants
        self.columns = {
            name: values.to_numpy() if pd.api.types.is_numeric_dtype(values) else Texts(values)
            for name, values in table.items()
        }

    def __getitem__(self, row):
        cells = {
            name: values[row] if isinstance(values, Texts) else values[row].item()
            for name, values in self.columns.items()
        }
        return cells | self.constants

    def __len__(self):
        return self.num_rows

    def __iter__(self):
        return iter(range(self.num_rows))


class Texts:
    """A column of texts in one array of bytes.

    Arguments
    ---------
    values : iterable of str

    Example
    -------
    >>> texts = Texts(["one", "", "Zoë"])
    >>> texts[2], len(texts)
    ('Zoë', 3)
    """

    def __init__(self, values):
        encoded = [value.encode() for value in values]
        self.ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        self.bytes = np.frombuffer(b"".join(encoded), np.uint8)

    def __getitem__(self, row):
        return self.bytes[self.ends[row] : self.ends[row + 1]].tobytes().decode()

    def __len__(self):
        return len(self.ends) - 1
