"""The training curves of a run: one CSV row per step and quantity, kept right across resumes."""

import csv
import io
import math
import os
from pathlib import Path

import pandas as pd

from speechbrain_fv.files import write_table

COLUMNS = ("step", "epoch", "name", "value")
BLOCK_BYTES = 2**16


class CurveLog:
    """Appends scalars to a CSV with the columns step, epoch, name, value.

    Arguments
    ---------
    path : str or Path
        The CSV file; made at the first row.
    """

    def __init__(self, path):
        self.path = Path(path)

    def append(self, step, epoch, scalars):
        """Adds a row per scalar.

        Arguments
        ---------
        step : int
            Optimiser steps done.
        epoch : int
            Epoch, from 1.
        scalars : dict of str to float
            Values by name.
        """
        self.extend([(step, epoch, scalars)])

    def extend(self, entries):
        """Adds entries, each (step, epoch, scalars) as for `append`, and opens the file once."""
        if not entries:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if file.tell() == 0:
                writer.writerow(COLUMNS)
            for step, epoch, scalars in entries:
                writer.writerows(
                    (step, epoch, name, float(value)) for name, value in scalars.items()
                )

    def rewind(self, step, epoch=math.inf):
        """Drops the rows that a resumed run is about to write again.

        Arguments
        ---------
        step : int
            The step of the checkpoint; later rows go.
        epoch : int, optional
            The last one that ended. A later one's validation goes too: the checkpoint may be of the
            last step of an epoch whose validation was written but not kept.
        """
        if not self.path.exists() or not self.path.stat().st_size:  # of a full disk, or a kill
            return
        table = pd.read_csv(self.path, on_bad_lines="skip")
        steps, epochs = (pd.to_numeric(table[of], errors="coerce") for of in ("step", "epoch"))
        is_again = (epochs > epoch) & table.name.astype(str).str.startswith("valid_")
        kept = table[(steps <= step) & ~is_again].dropna()
        write_table(kept.drop_duplicates(["step", "name"], keep="last"), self.path)

    def epoch_means(self, epoch):
        """Returns the mean of every scalar over the steps of an epoch, as a dict by name."""
        if not self.path.exists():
            return {}
        rows = self._rows_from(epoch)
        if not rows:
            return {}
        table = pd.read_csv(io.BytesIO(rows), names=COLUMNS)
        return table[table.epoch == epoch].groupby("name").value.mean().to_dict()

    def _rows_from(self, epoch):
        """Returns the rows of an epoch as CSV, with some before them and all after them.

        They are read from the end of the file: a long training does not slow its epochs down.
        """
        with self.path.open("rb") as file:
            length, size = BLOCK_BYTES, file.seek(0, os.SEEK_END)
            while True:
                file.seek(max(0, size - length))
                file.readline()  # the header, or the rest of a row
                first = file.readline()
                if length >= size or int(first.split(b",")[1]) < epoch:
                    return first + file.read()
                length *= 4
