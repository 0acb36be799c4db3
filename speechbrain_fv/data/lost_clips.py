"""A corpus that was prepared again after a few of its files were lost."""

import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from speechbrain_fv.data.manifests import REPORT_FILE
from speechbrain_fv.data.schema import named
from speechbrain_fv.files import read_table

logger = logging.getLogger(__name__)


def excluded_files(manifest_folder):
    """Returns the set of the files that a preparation left out, as its report names them."""
    return set(read_table(Path(manifest_folder, REPORT_FILE)).path)


def with_lost(earlier, now, most, excluded=frozenset()):
    """The earlier manifests of a corpus that has lost a few files since, at their present places.

    Arguments
    ---------
    earlier, now : Manifests
    most : int
        Clips that may be lost.
    excluded : set of str
        The files that the preparation of `now` found unusable.

    Returns
    -------
    Manifests or None
        None if more are lost, clips were added or changed, or a clip was taken out whose file is
        there and usable; not so of a person who has lost all faces, or all voices.
    """
    tables, gone = {}, []
    for kind, column in (("faces", "image"), ("voices", "wav")):
        for split, before in getattr(earlier, kind).items():
            after = getattr(now, kind)[split]
            is_there = before.ID.isin(after.ID)
            same = before[is_there].drop(columns=column).reset_index(drop=True)
            if not same.equals(after.drop(columns=column).reset_index(drop=True)):
                return None
            missing = before[~is_there].rename(columns={column: "file"})
            none_left = ~missing.spk_id.isin(after.spk_id)
            gone.append(missing[["spk_id", "file"]].assign(kind=kind, none_left=none_left))
            place = before.ID.map(after.set_index("ID")[column])
            tables.setdefault(kind, {})[split] = before.assign(
                **{column: place.fillna(before[column])}
            )
    gone = pd.concat(gone, ignore_index=True)
    is_lost = [file in excluded or not os.path.exists(file) for file in gone.file]
    gone = gone.assign(is_lost=np.array(is_lost, bool))
    lost = gone.file[gone.is_lost].unique().tolist()
    by_side = gone[gone.none_left].groupby(["spk_id", "kind"]).is_lost.all()
    one_sided = by_side.index[by_side].get_level_values("spk_id")  # left out by the preparation
    if not 0 < len(lost) <= most or not (gone.is_lost | gone.spk_id.isin(one_sided)).all():
        return None
    logger.warning(
        "%d files are lost since the training began, of at most %d (lost_files): %s",
        *(len(lost), most, named(lost)),
    )
    return replace(earlier, **tables)
