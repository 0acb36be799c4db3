"""The training curves of a run: one CSV row per step and quantity, kept right across resumes."""

import csv
from pathlib import Path

import pandas as pd

from speechbrain_fv.files import write_table

COLUMNS = ("step", "epoch", "name", "value")


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
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if file.tell() == 0:
                writer.writerow(COLUMNS)
            writer.writerows((step, epoch, name, float(value)) for name, value in scalars.items())

    def rewind(self, step):
        """Drops the rows after a step, which a resumed run is about to write again."""
        if not self.path.exists():
            return
        table = pd.read_csv(self.path, on_bad_lines="skip")
        kept = table[pd.to_numeric(table.step, errors="coerce") <= step].dropna()
        write_table(kept.drop_duplicates(["step", "name"], keep="last"), self.path)

    def epoch_means(self, epoch):
        """Returns the mean of every scalar over the steps of an epoch, as a dict by name."""
        if not self.path.exists():
            return {}
        table = pd.read_csv(self.path)
        return table[table.epoch == epoch].groupby("name").value.mean().to_dict()
