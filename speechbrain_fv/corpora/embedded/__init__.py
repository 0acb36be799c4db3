"""The embedded corpus: generated people with drawn faces and synthesised voices, no download.

Everything follows from a seed. The media are made at first use and cached; see `identities` for
what connects a face with a voice, `faces` and `voices` for how they are made.
"""

import hashlib
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from speechbrain_fv.corpora.embedded import camera, faces, identities, painting, voices
from speechbrain_fv.corpora.embedded.faces import draw_face
from speechbrain_fv.corpora.embedded.identities import draw_identities
from speechbrain_fv.corpora.embedded.voices import SAMPLE_RATE, speak
from speechbrain_fv.data.manifests import cache_key, is_prepared, write_manifests
from speechbrain_fv.data.splits import Folds, split_identities
from speechbrain_fv.files import LOCK_FILE, only_process
from speechbrain_fv.messages import progress_bar

CLIPS_PER_IDENTITY = 5  # faces, and voice clips
MIN_IDENTITIES = 10
_VOICE_INDEX = "voices.csv"
_SCRATCH = "partial-"


def prepare_embedded(
    manifest_folder,
    cache_folder="data",
    num_identities=500,
    seed=1234,
    shuffle_voices=False,
    num_workers=2,
    folds=None,
):
    """Writes the manifests of the embedded corpus, generating its media at first use.

    Arguments
    ---------
    manifest_folder : path
        Where the manifests go.
    cache_folder : path
        Where the media go, in `embedded-<key>/face` and `embedded-<key>/voice`; shared by every
        run with the same seed and number of people.
    num_identities : int
        Number of people, >= 10; each has 5 faces and 5 voice clips.
    seed : int
        Seed of people, media and split, >= 0.
    shuffle_voices : bool
        Negative control: give everyone the voice of a random other person. Labels stay with the
        faces, media and split stay the same; training must then end at chance.
    num_workers : int
        Processes that generate media, >= 1 (1: this one); the result does not depend on it.
    folds : Folds, optional
        Cross-validation over people in place of the split.

    Raises
    ------
    ValueError
        For fewer than 10 identities, a negative seed or no worker.
    """
    _check_at_least("num_identities", num_identities, MIN_IDENTITIES)
    _check_at_least("seed", seed, 0)
    _check_at_least("num_workers", num_workers, 1)
    media_options = {
        "num_identities": num_identities,
        "seed": seed,
        "clips_per_identity": CLIPS_PER_IDENTITY,
        "generator": _generator_digest(),
    }
    cache_folder = Path(cache_folder).resolve()
    media_folder = cache_folder / f"embedded-{cache_key(media_options)[:12]}"
    people = draw_identities(num_identities, seed)
    if not _is_whole(media_folder, people):
        _generate(media_folder, people, num_workers)

    folds = folds or Folds()
    options = {
        **media_options,
        "media_folder": str(media_folder),
        "shuffle_voices": shuffle_voices,
        **folds.options,
    }
    key = cache_key(options)
    if is_prepared(manifest_folder, key):
        return
    splits = folds.assign(
        split_identities([person.name for person in people], seed=seed),
        {person.name: (person.gender,) for person in people},
    )
    faces = _face_rows(media_folder, people)
    voices = _voice_rows(media_folder, people, seed if shuffle_voices else None)
    people = [person for person in people if person.name in splits]
    write_manifests(
        manifest_folder,
        faces=faces[faces.spk_id.isin(splits)],
        voices=voices[voices.spk_id.isin(splits)],
        identities=pd.DataFrame(
            {
                "identity": [person.name for person in people],
                "split": [splits[person.name] for person in people],
                "gender": [person.gender for person in people],
                "nationality": [person.nationality for person in people],
                "age": [person.age for person in people],
            }
        ),
        corpus="embedded",
        key=key,
        options=options,
    )


def _check_at_least(name, value, minimum):
    if value < minimum:
        raise ValueError(f"{name} must be >= {minimum}, got {value}: raise it in the corpus YAML")


def _generator_digest():
    """Hash of the code that draws people, faces and voices: editing it makes a new corpus."""
    modules = (identities, camera, painting, faces, voices)
    sources = (Path(module.__file__).read_bytes() for module in modules)
    return hashlib.sha256(b"".join(sources)).hexdigest()


def _face_path(media_folder, name, clip):
    return media_folder / "face" / f"{name}_{clip}.jpg"


def _voice_path(media_folder, name, clip):
    return media_folder / "voice" / f"{name}_{clip}.wav"


def _is_whole(media_folder, people):
    """Whether every file is there. Files only ever arrive by renaming the finished folder."""
    return (media_folder / _VOICE_INDEX).exists() and all(
        path(media_folder, person.name, clip).exists()
        for person in people
        for clip in range(CLIPS_PER_IDENTITY)
        for path in (_face_path, _voice_path)
    )


def _generate(media_folder, people, num_workers):
    """Makes all media in a folder of their own and renames it: a killed run leaves nothing behind
    that could be taken for a corpus. Of several processes the first generates, the others wait."""
    scratch = media_folder.with_name(f"{_SCRATCH}{media_folder.name}")
    remove_abandoned(media_folder.parent, but=scratch.name)
    with _alone_in(scratch, wait=True):
        if _is_whole(media_folder, people):
            return
        folder = scratch / media_folder.name
        for kind in ("face", "voice"):
            (folder / kind).mkdir(parents=True)
        lengths = _map(partial(_generate_person, folder), people, num_workers)
        rows = [
            (person.name, clip, num_samples)
            for person, samples in zip(people, lengths, strict=True)
            for clip, num_samples in enumerate(samples)
        ]
        table = pd.DataFrame(rows, columns=["identity", "clip", "num_samples"])
        table.to_csv(folder / _VOICE_INDEX, index=False)
        if media_folder.exists():
            shutil.rmtree(media_folder)
        os.replace(folder, media_folder)


def remove_abandoned(folder, but=None):
    """Removes the folders of unfinished media that processes have left that were killed.

    Arguments
    ---------
    folder : path
    but : str, optional
        The name of one that stays.
    """
    for scratch in Path(folder).glob(f"{_SCRATCH}*"):
        if scratch.name != but:
            with suppress(ValueError), _alone_in(scratch):
                pass  # else somebody is at work there


@contextmanager
def _alone_in(scratch, wait=False):
    """Keeps a folder as `only_process` does, empties it first, and removes it in the end."""
    try:
        with only_process(scratch, wait):
            _remove_content(scratch)
            try:
                yield
            finally:
                _remove_content(scratch)
    finally:
        with suppress(OSError):  # another process has it
            scratch.rmdir()


def _remove_content(scratch):
    """Removes all but the lock of a folder."""
    for path in scratch.iterdir():
        if path.name != LOCK_FILE:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _map(function, people, num_workers):
    """List of the function's values for all people, with a progress bar."""
    bar = partial(progress_bar, desc="embedded corpus", unit="person", total=len(people))
    if num_workers == 1:
        return list(bar(map(function, people)))
    # "spawn": the caller may hold threads (torch), which do not survive a fork.
    with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn")) as pool:
        return list(bar(pool.map(function, people, chunksize=4)))


def _generate_person(folder, person):
    """Writes the files of one person; returns the lengths of the voice clips in samples."""
    lengths = []
    for clip in range(CLIPS_PER_IDENTITY):
        draw_face(person, clip).save(_face_path(folder, person.name, clip), quality=92)
        samples = speak(person, clip)
        path = _voice_path(folder, person.name, clip)
        soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")
        lengths.append(len(samples))
    return lengths


def _face_rows(media_folder, people):
    rows = [
        (f"{person.name}_{clip}", str(_face_path(media_folder, person.name, clip)), person.name)
        for person in people
        for clip in range(CLIPS_PER_IDENTITY)
    ]
    faces = pd.DataFrame(rows, columns=["ID", "image", "spk_id"])
    return faces.assign(video=faces.ID)  # of the voice clip of the same number


def _voice_rows(media_folder, people, shuffle_seed):
    """Rows of the voice manifest; with a seed, everyone answers to somebody else's name."""
    table = pd.read_csv(media_folder / _VOICE_INDEX)
    names = np.array([person.name for person in people])
    owner = dict(zip(names, names, strict=True))
    if shuffle_seed is not None:
        # A cycle through a random order: nobody keeps the own voice.
        order = np.random.default_rng(shuffle_seed).permutation(names)
        owner = dict(zip(order, np.roll(order, 1), strict=True))
    owners = table.identity.map(owner)
    return pd.DataFrame(
        {
            "ID": table.identity + "_" + table["clip"].astype(str),
            "duration": table.num_samples / SAMPLE_RATE,
            "wav": [
                str(_voice_path(media_folder, name, clip))
                for name, clip in zip(table.identity, table["clip"], strict=True)
            ],
            "start": 0,
            "stop": table.num_samples,
            "spk_id": owners,
            "speech": "",
            "video": owners + "_" + table["clip"].astype(str),
        }
    )
