"""Why a face or a voice of a corpus is left out: of itself, or because somebody else has it too."""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from speechbrain_fv.data.manifests import REPORT_FILE
from speechbrain_fv.data.schema import EXCLUDED_COLUMNS, NUM_NAMED
from speechbrain_fv.files import write_table
from speechbrain_fv.media.bounds import ONE_COLOUR, level_fault, short_fault, size_fault
from speechbrain_fv.names import readable

NAME_FAULT = (
    "the name is not UTF-8, or has a line break or another control character, here written as "
    "\\xNN; rename the file or its folder"
)


def face_fault(facts, min_pixels):
    """Why an image is unusable, or "" when it is usable.

    Arguments
    ---------
    facts : dict
        What `face_facts` returned.
    min_pixels : int
        Least height and width in pixels.

    Returns
    -------
    str

    Example
    -------
    >>> face_fault({"height": 20, "width": 90, "constant": False}, 32)
    '90 x 20 pixels, expected at least 32 a side; take a larger picture'
    """
    if "error" in facts:
        return facts["error"]
    fault = size_fault(facts["width"], facts["height"], min_pixels) or facts.get("damage", "")
    return fault or (ONE_COLOUR if facts["constant"] else "")


def voice_fault(facts, speech_seconds, min_seconds, min_level_db):
    """Why a voice clip is unusable, or "" when it is usable.

    Arguments
    ---------
    facts : dict
        What `voice_facts` returned for its file.
    speech_seconds : float
        Speech inside the clip, in seconds; its length where the file was not searched for speech.
    min_seconds : float
        Least speech in seconds.
    min_level_db : float
        Least level of the file in dB.

    Returns
    -------
    str

    Example
    -------
    >>> facts = {"rate": 16000, "num_samples": 8000, "channels": 1, "level_db": -20.0}
    >>> voice_fault({**facts, "speech": None}, 0.5, min_seconds=1.0, min_level_db=-60.0)
    'too short: 0.50 s, expected at least 1 s; record more'
    """
    if "error" in facts:
        return facts["error"]
    level = -math.inf if facts["level_db"] is None else facts["level_db"]
    searched = facts["speech"] is not None
    whole_seconds = facts["num_samples"] / facts["rate"] if searched else None
    loudest = -math.inf if facts.get("loudest_db") is None else facts["loudest_db"]
    return (
        facts.get("damage", "")  # which may be why it is short, or has no speech
        or level_fault(level, min_level_db, facts["channels"], loudest)
        or short_fault(speech_seconds, min_seconds, whole_seconds)
    )


def shared_faults(contents, identities, paths, starts=None, stops=None):
    """Why clips are left out that are the very same of several people, "" for all others.

    Links, copies and folders that were copied under a second name give one file to two people; who
    it shows, nobody can tell, so all of them are left out. Of one recording two people may have
    parts that do not overlap.

    Arguments
    ---------
    contents : sequence of str or None
        The same for files of the same bytes; None where that is not known.
    identities, paths : sequence of str
    starts, stops : sequence of int, optional
        The parts, in samples.

    Returns
    -------
    list of str

    Example
    -------
    >>> faults = shared_faults(["1", "2", "1"], ["ann", "ann", "bob"], ["a.jpg", "b.jpg", "c.jpg"])
    >>> print(faults[0])
    the same file as c.jpg of 'bob'; keep it with the person whom it shows
    >>> faults[1]
    ''
    """
    parts = {"start": 0 if starts is None else starts, "stop": 1 if stops is None else stops}
    table = pd.DataFrame({"content": contents, "identity": identities, "path": paths, **parts})
    reasons = np.full(len(table), "", dtype=object)
    table = table[table.content.notna()]
    table = table[table.groupby("content").identity.transform("nunique") > 1]
    table = table.sort_values(["content", "start"], kind="stable")
    ends = table.groupby("content").stop.cummax().groupby(table.content).shift(fill_value=0)
    overlap = (table.start >= ends).groupby(table.content).cumsum()  # number of the common stretch
    for _, rows in table.groupby([table.content, overlap]):
        if rows.identity.nunique() == 1:
            continue
        of_person = rows.drop_duplicates("identity")
        first, second = of_person.iloc[0], of_person.iloc[1]
        for row in rows.itertuples():
            other = first if row.identity != first.identity else second
            reasons[row.Index] = (
                f"the same file as {readable(other.path)} of {other.identity!r}; keep it with the "
                "person whom it shows"
            )
    return reasons.tolist()


def excluded_rows(paths, identities, modality, reasons):
    """Returns the rows of `excluded.csv` of those clips that have a reason."""
    table = pd.DataFrame(
        {
            "path": list(map(readable, paths)),
            "modality": modality,
            "identity": list(map(readable, identities)),
            "reason": reasons,
        }
    )
    return table[table.reason != ""]


def report_excluded(excluded, num_rows, max_share, manifest_folder):
    """Write `excluded.csv` and stop when too much was left out.

    Arguments
    ---------
    excluded : pandas.DataFrame
        What was left out, columns `EXCLUDED_COLUMNS`.
    num_rows : dict of str to int
        Modality to the number of rows there were.
    max_share : float
        Largest share in [0, 1] that may be left out, per modality.
    manifest_folder : path
        Where the report goes.

    Raises
    ------
    ValueError
        If the share of a modality is larger.
    """
    report = Path(manifest_folder) / REPORT_FILE
    write_table(excluded[EXCLUDED_COLUMNS], report)
    for modality, total in num_rows.items():
        rows = excluded[excluded.modality == modality]
        if len(rows) > max_share * total:
            first = "; ".join(f"{row.path}: {row.reason}" for row in rows[:NUM_NAMED].itertuples())
            raise ValueError(
                f"{len(rows)} of {total} {modality} files ({len(rows) / total:.1%}) are unusable, "
                f"more than max_excluded_share = {max_share:g}. First: {first}. All are listed in "
                f"{report}; repair them, or raise max_excluded_share."
            )
