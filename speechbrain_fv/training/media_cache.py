"""A cache of the media: images resized once, speech as 16-bit samples at the model's rate."""

import hashlib
import logging
import time
from pathlib import Path

import numpy as np
import torch
from speechbrain.utils.distributed import run_on_main

from speechbrain_fv.data.digests import FileDigests
from speechbrain_fv.data.media_cache import CachedReader, MediaStore
from speechbrain_fv.messages import progress_bar
from speechbrain_fv.training.brain import MODALITIES
from speechbrain_fv.training.features import is_cached, rows_wanted, tables_of
from speechbrain_fv.training.record import settings_under

logger = logging.getLogger(__name__)

CACHE_VERSION = 1
"""To be raised when the same settings come to store other images or samples."""

ABOUT = {
    "face": ("uint8", ("resize", "interpolation", "crop")),
    "voice": ("int16", ("sample_rate",)),
}
"""Type of what is kept, and the arguments of the reader that shape it."""

BATCH = 16
"""Clips that a reading process hands over at once."""


def cached_modalities(hparams):
    """Returns the modalities whose media are kept: those that are read from files in every step."""
    if hparams.get("media_cache") is None:
        return []
    readers = {modality: hparams["corpus"][f"{modality}_reader"] for modality in MODALITIES}
    return [
        modality
        for modality, reader in readers.items()
        if hasattr(reader, "stored") and not is_cached(hparams, modality)
    ]


def settings_of_cache(hparams):
    """Returns what of the cache makes a run's result, for its record.

    Samples that were resampled, mixed down or of more than 16 bits are rounded to 16.
    """
    return {f"media_cache.{modality}": "16 bits" for modality in cached_modalities(hparams)}


def use_cache(hparams, resolved_yaml, manifests):
    """Lets training and evaluation read media from a cache, which is filled with what is missing.

    The readers of the corpus are replaced. Images, and speech of one channel, 16 bits and the
    model's rate, are read as without the cache, bit for bit. The first of several processes fills
    it, the others wait.

    Arguments
    ---------
    hparams : dict
        The loaded YAML; its `media_cache` is the folder, which many runs may share, or None.
    resolved_yaml : str
        Its text with all bases, overrides and includes in place.
    manifests : data.manifests.Manifests

    Raises
    ------
    ValueError
        If a file cannot be read, or the folder cannot be written.
    """
    modalities = cached_modalities(hparams)
    if hparams.get("media_cache") is not None and not modalities:
        logger.warning(
            "media_cache: not used: vectors, features of frozen encoders and joined corpora have "
            "no media to keep there"
        )
    for modality in modalities:
        reader = hparams["corpus"][f"{modality}_reader"]
        store, wanted = _place(hparams["media_cache"], modality, reader, resolved_yaml, manifests)
        run_on_main(fill, [store, wanted, reader], {"num_workers": hparams["num_workers"]})
        places = store.rows([name for (name,), _ in wanted.values()])
        rows = {clip: places[name] for clip, ((name,), _) in wanted.items()}
        hparams["corpus"][f"{modality}_reader"] = CachedReader(reader, store.arrays(), rows)


def _place(folder, modality, reader, resolved_yaml, manifests):
    """The store of a modality, and by clip the name of its row and what the reader takes."""
    dtype, arguments = ABOUT[modality]
    settings = settings_under(resolved_yaml, [f"corpus.{modality}_reader"])
    shaping = {
        name: value for name, value in settings.items() if name.rpartition(".")[2] in arguments
    }
    about = {"dtype": dtype, "version": CACHE_VERSION, **shaping}
    key = hashlib.sha256(repr(sorted(about.items())).encode()).hexdigest()[:16]
    digests = FileDigests(Path(folder, "files.jsonl"))
    wanted = rows_wanted(tables_of(manifests, modality), reader, 0, digests)
    return MediaStore(Path(folder, f"{modality}-{key}"), about), wanted


class _Stored(torch.utils.data.Dataset):
    """What is kept of a clip, by the number of a row."""

    def __init__(self, rows, reader):
        self.rows, self.reader = rows, reader

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        _, taken = self.rows[index]
        return self.reader.stored(**taken).numpy()


def fill(store, wanted, reader, num_workers=0):
    """Adds to a store what it lacks of some clips.

    A process that is killed leaves what it has added; the next one adds the rest.

    Arguments
    ---------
    store : MediaStore
    wanted : dict of str to (list of bytes, dict)
        Clip -> the name of its row, and what the reader takes.
    reader : ImageReader or SpeechReader
    num_workers : int
        Processes that read.
    """
    rows = {name: (name, taken) for (name,), taken in wanted.values()}
    kind = store.folder.name.split("-")[0]
    if len(store.rows(rows)) == len(rows):  # also where the folder cannot be written
        logger.info("%s cache: all %d clips are in %s", kind, len(rows), store.folder)
        return
    with store.filling():
        there = store.rows(rows)
        missing = [row for name, row in rows.items() if name not in there]
        start = time.perf_counter()
        loader = torch.utils.data.DataLoader(
            _Stored(missing, reader),
            BATCH,
            num_workers=num_workers,
            collate_fn=_joined,
            generator=torch.Generator(),  # else the training's own random numbers would be others
        )
        first = 0
        with progress_bar(total=len(missing), desc=f"{kind} cache", unit="clip") as bar:
            for joined, shapes in loader:
                sizes = np.cumsum([np.prod(shape) for shape in shapes])
                parts = np.split(joined.numpy(), sizes[:-1])
                names = [name for name, _ in missing[first : first + len(shapes)]]
                store.add(names, [part.reshape(s) for part, s in zip(parts, shapes, strict=True)])
                first += len(shapes)
                bar.update(len(shapes))
        if missing:
            store.checked()
    logger.info(
        "%s cache: read %d clips at %.1f clips/s, %d were there, in %s",
        *(kind, len(missing), len(missing) / (time.perf_counter() - start)),
        *(len(there), store.folder),
    )


def _joined(clips):
    """One tensor of all clips, which goes from process to process in one piece, and the shapes."""
    joined = np.concatenate([clip.ravel() for clip in clips])
    return torch.from_numpy(joined), [clip.shape for clip in clips]
