"""Which media files are usable: each face and voice file is read once and its facts are kept.

Facts (image size, sample rate, level, speech segments) are what reading costs time for; they lie
in an append-only cache under the cache folder, so that an interrupted scan goes on where it
stopped. Whether a file is usable follows from its facts and the thresholds, and is never cached.
"""

import json
import logging
import os
import time
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from speechbrain_fv.corpora.face_crops import crop_facts, crops_folder, is_whole
from speechbrain_fv.corpora.faults import (
    NAME_FAULT,
    excluded_rows,
    face_fault,
    report_excluded,
    shared_faults,
    voice_fault,
)
from speechbrain_fv.corpora.media_facts import FACTS_VERSION, face_facts, voice_facts
from speechbrain_fv.corpora.workers import DIED, read_all
from speechbrain_fv.data.schema import (
    FACE_COLUMNS,
    VOICE_COLUMNS,
    clip_columns,
    format_speech,
    with_optional,
)
from speechbrain_fv.files import file_stamp
from speechbrain_fv.media.bounds import LEAST
from speechbrain_fv.messages import progress_bar
from speechbrain_fv.names import is_text

logger = logging.getLogger(__name__)

MANY = 5000  # files to read: how long it will take is then measured and told first
NUM_TIMED = 24  # files that are read for it, one after the other
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
    shared_files : str
        "exclude" leaves out files that are byte for byte the same with several people, be they
        copies or links; "keep" takes them, for corpora that are simulated with links.

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
    shared_files: str = "exclude"

    def __post_init__(self):
        for name, valid, expected in (
            ("min_face_pixels", self.min_face_pixels >= 1, "at least 1"),
            ("min_seconds", self.min_seconds > 0, "above 0"),
            ("min_level_db", self.min_level_db <= 0, "at most 0 (full scale)"),
            ("max_excluded_share", 0 <= self.max_excluded_share <= 1, "in [0, 1]"),
            ("num_workers", self.num_workers >= 0, "at least 0"),
            ("shared_files", self.shared_files in ("exclude", "keep"), "exclude or keep"),
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
        if self.shared_files != "exclude":
            criteria["shared_files"] = self.shared_files
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
        num_rows = {"face": len(faces), "voice": len(voices)}
        unnamed = [
            excluded_rows(table[column], table.spk_id, modality, _name_faults(table[column]))
            for table, column, modality in ((faces, "image", "face"), (voices, "wav", "voice"))
        ]
        faces = faces.loc[[is_text(path) for path in faces.image]]
        voices = voices.loc[[is_text(path) for path in voices.wav]]
        face_facts = self.scan(faces.image, "face")
        voice_facts = self.scan(voices.wav, "voice")
        faces, voices = with_optional(faces), _clip_voices(with_optional(voices), voice_facts)
        reasons = self._face_reasons(faces, face_facts)
        voice_reasons = self._voice_reasons(voices, voice_facts)
        excluded = pd.concat(
            [
                *unnamed,
                excluded_rows(faces.image, faces.spk_id, "face", reasons),
                excluded_rows(voices.wav, voices.spk_id, "voice", voice_reasons),
            ],
            ignore_index=True,
        )
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

    def _face_reasons(self, faces, facts):
        facts = [facts[path] for path in faces.image]
        reasons = [face_fault(of, self.min_face_pixels) for of in facts]
        return self._with_shared(reasons, facts, faces.spk_id, faces.image)

    def _voice_reasons(self, voices, facts):
        facts = [facts[path] for path in voices.wav]
        rows = zip(facts, voices.seconds, strict=True)
        reasons = [
            voice_fault(of, seconds, self.min_seconds, self.min_level_db) for of, seconds in rows
        ]
        parts = voices.start, voices.stop
        return self._with_shared(reasons, facts, voices.spk_id, voices.wav, *parts)

    def _with_shared(self, reasons, facts, identities, paths, *parts):
        """Reasons, and those of usable files that several people have."""
        if self.shared_files == "keep":
            return reasons
        contents = [
            None if reason else of.get("content") for reason, of in zip(reasons, facts, strict=True)
        ]
        shared = shared_faults(contents, *map(list, (identities, paths, *parts)))
        return [reason or fault for reason, fault in zip(reasons, shared, strict=True)]

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
                    known[path] = facts
                    if facts.get("error") == DIED:
                        continue  # which may be the machine's fault: it is read again next time
                    entry = {"path": path, "stamp": stamps[path], "facts": facts}
                    output.write(json.dumps(entry).encode() + b"\n")
                    output.flush()
        return known

    def _read_all(self, read, paths, modality):
        """Yields (path, facts); says first how long it will take where that is long."""
        bar = progress_bar(total=len(paths), desc=f"scanning {modality} files", unit="file")
        with bar:
            timed = []
            if len(paths) >= MANY and self.num_workers:
                timed = paths[:: len(paths) // NUM_TIMED]
                moments = []
                for entry in read_all(read, timed, 1, chunk_size=1):
                    moments.append(time.monotonic())
                    bar.update()
                    yield entry
                rest = len(paths) - len(timed)
                speed = (len(timed) - 1) / max(moments[-1] - moments[0], 1e-9)
                self._tell_time(speed, rest, modality)
            seen = set(timed)
            others = [path for path in paths if path not in seen]
            for entry in read_all(read, others, self.num_workers):
                bar.update()
                yield entry

    def _tell_time(self, speed, num_files, modality):
        """Logs the speed of a process, that of all, and when they will be through."""
        num_cores = min(self.num_workers, len(os.sched_getaffinity(0)))
        seconds = num_files / (speed * num_cores)
        logger.info(
            "scan of %d %s files: %.0f files/s per core, %.0f with %d processes on %d cores; about "
            "%s, until %s",
            *(num_files, modality, speed, speed * num_cores, self.num_workers, num_cores),
            f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + seconds)),
        )


def _name_faults(paths):
    return ["" if is_text(path) else NAME_FAULT for path in paths]


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
    return pd.DataFrame(rows, columns=list(dict.fromkeys([*VOICE_COLUMNS, "seconds", *further])))


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
