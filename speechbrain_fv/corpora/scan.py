"""Which media files are usable: each face and voice file is read once and its facts are kept.

Facts (image size, sample rate, level, speech segments) are what reading costs time for; they lie
in an append-only cache under the cache folder, so that an interrupted scan goes on where it
stopped. Whether a file is usable follows from its facts and the thresholds, and is never cached.
"""

import json
import logging
import math
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from speechbrain_fv.corpora.face_crops import crop_facts, crops_folder, is_whole
from speechbrain_fv.corpora.media_facts import FACTS_VERSION, face_facts, voice_facts
from speechbrain_fv.data.manifests import REPORT_FILE
from speechbrain_fv.data.schema import (
    EXCLUDED_COLUMNS,
    FACE_COLUMNS,
    NUM_NAMED,
    VOICE_COLUMNS,
    clip_columns,
    format_speech,
    with_optional,
)
from speechbrain_fv.files import file_stamp, write_table
from speechbrain_fv.media.bounds import LEAST, ONE_COLOUR, level_fault, short_fault, size_fault
from speechbrain_fv.messages import progress_bar

logger = logging.getLogger(__name__)

CHUNK_SIZE = 16  # files per task of a worker process
MARGIN = 1.26  # of `media.face_detection`, which takes seconds to import


@dataclass(frozen=True)
class Scanner:
    """What makes a media file usable, and how the files are read.

    Arguments
    ---------
    cache_folder : str
        Folder of the facts already gathered; may be shared by many runs.
    min_face_pixels : int
        Shortest side of a usable image in pixels, at least 1.
    min_seconds : float
        Least speech in a usable voice clip, in seconds, above 0 (all of the clip without VAD).
    min_level_db : float
        Least level of a usable voice file: RMS in dB below full scale, at most 0.
    vad : bool
        Find speech segments with silero-vad.
    max_excluded_share : float
        Largest share in [0, 1] of unusable files of a modality; beyond it the preparation stops.
    num_workers : int
        Processes that read files, at least 0; 0 reads in this process. The result is the same.
    detect : bool
        Whether the images are photos in which the face must be found: it is put upright and cropped
        once, into the cache. Needs the extra `detect`. Without it they are crops already.
    crop_margin : float
        Side of a crop, relative to the height of the face's box, at least 1; see `FaceDetector`.
    crop_pixels : int
        Largest side of a crop in pixels, at least `min_face_pixels`.
    several_faces : str
        "largest" takes the largest of several faces, "refuse" leaves such photos out.
    level_faces : bool
        Whether heads that are tilted by 5 to 45 degrees are turned upright.

    Raises
    ------
    ValueError
        If a value lies outside its range, or `detect` needs an extra that is not installed.

    Example
    -------
    >>> Scanner(vad=False).criteria["min_seconds"]
    1.0
    """

    cache_folder: str = "data"
    min_face_pixels: int = LEAST.face_pixels
    min_seconds: float = LEAST.seconds
    min_level_db: float = LEAST.level_db
    vad: bool = True
    max_excluded_share: float = 0.05
    num_workers: int = 2
    detect: bool = False
    crop_margin: float = MARGIN
    crop_pixels: int = 256
    several_faces: str = "largest"
    level_faces: bool = True

    def __post_init__(self):
        for name, valid, expected in (
            ("min_face_pixels", self.min_face_pixels >= 1, "at least 1"),
            ("min_seconds", self.min_seconds > 0, "above 0"),
            ("min_level_db", self.min_level_db <= 0, "at most 0 (full scale)"),
            ("max_excluded_share", 0 <= self.max_excluded_share <= 1, "in [0, 1]"),
            ("num_workers", self.num_workers >= 0, "at least 0"),
        ):
            if not valid:
                raise ValueError(f"{name}: expected {expected}, got {getattr(self, name)}.")
        if self.detect:
            from speechbrain_fv.media.face_detection import FaceDetector

            FaceDetector(**self.crop)

    @property
    def crop(self):
        """The arguments of `FaceDetector`, a dict."""
        return {
            "margin": self.crop_margin,
            "min_pixels": self.min_face_pixels,
            "max_pixels": self.crop_pixels,
            "several": self.several_faces,
            "level": self.level_faces,
        }

    @property
    def criteria(self):
        """The options that decide which files are usable, for the cache key; a dict."""
        names = ("min_face_pixels", "min_seconds", "min_level_db", "vad", "max_excluded_share")
        criteria = {name: getattr(self, name) for name in names}
        return {**criteria, "detect": self.crop} if self.detect else criteria

    def select(self, faces, voices, manifest_folder):
        """The usable rows of a corpus as manifest rows, and the rows left out.

        Arguments
        ---------
        faces : pandas.DataFrame
            Columns ID, image, spk_id, optionally video, and any attribute of the clips, which is
            kept.
        voices : pandas.DataFrame
            Columns ID, wav, spk_id and optionally video, start and stop in samples (default: all
            of the file).
        manifest_folder : path
            Folder for `excluded.csv`, which is written in every case.

        Returns
        -------
        tuple of pandas.DataFrame
            Faces with `FACE_COLUMNS`, voices with `VOICE_COLUMNS` and what was left out with
            `EXCLUDED_COLUMNS`, each in the order of the input. With `detect` the faces' `image` is
            the crop.

        Raises
        ------
        ValueError
            If more than `max_excluded_share` of the rows of a modality are unusable.
        """
        face_facts = self.scan(faces.image, "face")
        voice_facts = self.scan(voices.wav, "voice")
        reasons = [face_fault(face_facts[path], self.min_face_pixels) for path in faces.image]
        faces, voices = with_optional(faces), _clip_voices(with_optional(voices), voice_facts)
        voice_reasons = [
            voice_fault(voice_facts[row.wav], row.seconds, self.min_seconds, self.min_level_db)
            for row in voices.itertuples()
        ]
        excluded = pd.concat(
            [
                _excluded_rows(faces.image, faces.spk_id, "face", reasons),
                _excluded_rows(voices.wav, voices.spk_id, "voice", voice_reasons),
            ],
            ignore_index=True,
        )
        num_rows = {"face": len(faces), "voice": len(voices)}
        report_excluded(excluded, num_rows, self.max_excluded_share, manifest_folder)
        usable_faces = faces.loc[[not reason for reason in reasons]]
        if self.detect:
            _log_crops([face_facts[path] for path in usable_faces.image])
            crops = [face_facts[path]["crop"] for path in usable_faces.image]
            usable_faces = usable_faces.assign(image=crops)
        usable_voices = voices.loc[[not reason for reason in voice_reasons]]
        usable = [
            rows[[*columns, *clip_columns(rows, (*columns, "seconds"))]]
            for rows, columns in ((usable_faces, FACE_COLUMNS), (usable_voices, VOICE_COLUMNS))
        ]
        return *usable, excluded

    def scan(self, paths, modality):
        """The facts of every file, read from the cache or gathered now.

        Arguments
        ---------
        paths : iterable of str
            Files; repetitions are read once.
        modality : str
            "face" or "voice".

        Returns
        -------
        dict of str to dict
            Path to facts, as `face_facts` or `crop_facts` and `voice_facts` return them.
        """
        name = f"{modality}_facts_{FACTS_VERSION}"
        read = {"face": face_facts, "voice": partial(voice_facts, vad=self.vad)}
        if modality == "voice" and self.vad:
            name += f"_silero_{version('silero-vad')}"
        elif modality == "face" and self.detect:
            folder = crops_folder(os.path.abspath(self.cache_folder), self.crop)
            name += f"_crops_{folder.name}"
            read["face"] = partial(crop_facts, folder=folder, settings=self.crop)
        store = Path(self.cache_folder) / "scan" / f"{name}.jsonl"
        stamps = {path: file_stamp(path) for path in paths}
        known = {
            path: facts for path, facts in _load_facts(store, stamps).items() if is_whole(facts)
        }
        todo = sorted(set(stamps) - set(known))
        if todo:
            store.parent.mkdir(parents=True, exist_ok=True)
            with store.open("ab") as output:
                if output.tell():
                    output.write(b"\n")  # ends a line that a killed run left torn
                for path, facts in self._read_all(read[modality], todo, modality):
                    entry = {"path": path, "stamp": stamps[path], "facts": facts}
                    output.write(json.dumps(entry).encode() + b"\n")
                    output.flush()
                    known[path] = facts
        return known

    def _read_all(self, read, paths, modality):
        bar = {"total": len(paths), "desc": f"scanning {modality} files", "unit": "file"}
        if self.num_workers == 0:
            yield from zip(paths, progress_bar(map(read, paths), **bar), strict=True)
            return
        # A forked copy of a process whose torch has threads can deadlock: start afresh.
        pool = ProcessPoolExecutor(
            min(self.num_workers, -(-len(paths) // CHUNK_SIZE)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_end_with_parent,
        )
        try:
            with _one_thread_each():
                facts = pool.map(read, paths, chunksize=CHUNK_SIZE)
            yield from zip(paths, progress_bar(facts, **bar), strict=True)
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread_each():
    """Lets the processes that are started inside use one thread of OpenMP.

    There is a process per core: more threads wait for each other, which took the face detector
    fifty times as long.
    """
    earlier = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if earlier is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = earlier


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
    fault = size_fault(facts["width"], facts["height"], min_pixels)
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
    return level_fault(level, min_level_db, facts["channels"]) or short_fault(
        speech_seconds, min_seconds, whole_seconds
    )


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


def _log_crops(facts):
    turned = sum(of["quarter_turns"] > 0 for of in facts)
    several = sum(of["num_faces"] > 1 for of in facts)
    tilted = sum(of["tilt"] != 0 for of in facts)
    logger.info(
        "%d faces found and cropped; %d photos were not upright, %d heads tilted, %d photos show "
        "several faces",
        *(len(facts), turned, tilted, several),
    )


def _clip_voices(voices, facts):
    """Voice rows with duration, start, stop, speech and `seconds` of speech inside the clip."""
    rows = []
    for row in voices.to_dict("records"):
        known = facts[row["wav"]]
        rate, num_samples = known.get("rate", 1), known.get("num_samples", 0)
        start = min(int(row.get("start", 0)), num_samples)
        stop = min(int(row.get("stop", num_samples)), num_samples)
        segments = known.get("speech")
        if segments is None:
            inside, text = [(start, stop)], ""
        else:
            cut = [(max(first, start), min(last, stop)) for first, last in segments]
            inside = [(first, last) for first, last in cut if first < last]
            text = format_speech(inside)
        row |= {"duration": num_samples / rate, "start": start, "stop": stop, "speech": text}
        row["seconds"] = sum(last - first for first, last in inside) / rate
        rows.append(row)
    further = clip_columns(voices, VOICE_COLUMNS)
    return pd.DataFrame(rows, columns=[*VOICE_COLUMNS, "seconds", *further])


def _excluded_rows(paths, identities, modality, reasons):
    table = pd.DataFrame(
        {"path": list(paths), "modality": modality, "identity": list(identities), "reason": reasons}
    )
    return table[table.reason != ""]


def _load_facts(store, stamps):
    """The stored facts of files that have not changed since; torn lines are passed over."""
    known = {}
    if store.exists():
        for line in store.read_bytes().splitlines():
            try:
                entry = json.loads(line)
                path, stamp, facts = entry["path"], entry["stamp"], entry["facts"]
            except (ValueError, KeyError, TypeError):
                continue
            if stamp and stamps.get(path) == stamp:
                known[path] = facts
    return known


def _end_with_parent():
    """Without it a worker outlives a parent that was killed, waiting for work for ever."""

    def wait():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
