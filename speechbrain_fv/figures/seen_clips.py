"""What the model sees: the first pairs of the first training batch, kept before it is trained.

A wrong corpus shows here at once: faces that are no crops, speech that is silence, a face beside
the voice of somebody else.
"""

import logging
from pathlib import Path

import numpy as np
import torch

from speechbrain_fv import distributed
from speechbrain_fv.figures import plots
from speechbrain_fv.figures.plots import SeenClips
from speechbrain_fv.figures.plots.style import save
from speechbrain_fv.figures.run_files import SEEN_FILE
from speechbrain_fv.files import replacing
from speechbrain_fv.training.features import is_cached

logger = logging.getLogger(__name__)

NUM_PAIRS = 10


def save_seen_clips(hparams, manifests):
    """Writes the clips and their contact sheet into a run's folder; says where, or why not.

    Nothing is drawn from the random numbers of the training: the sampler and the readers have
    their own.

    Arguments
    ---------
    hparams : dict
        The loaded YAML, with the corpus's readers as they are before features or a cache take
        their place.
    manifests : data.manifests.Manifests
    """
    folder = Path(hparams["output_folder"])
    try:
        seen = first_pairs(hparams, manifests)
    except ValueError as error:  # the training meets it too, and says more
        logger.warning("contact sheet: not drawn: %s", error)
        return
    if seen.faces is None and seen.voices is None:
        return
    with replacing(folder / SEEN_FILE) as file:
        np.savez(file, **{k: v for k, v in seen._asdict().items() if v is not None})
    path, _ = save(plots.contact_sheet_figure(seen), folder / "figures" / "contact_sheet")
    logger.info("what the model sees: %s", path)


def first_pairs(hparams, manifests):
    """Returns the first `NUM_PAIRS` of the first batch as `SeenClips`, augmented as there.

    Arguments
    ---------
    hparams, manifests
        As for `save_seen_clips`.

    Raises
    ------
    ValueError
        If a file cannot be read, or the sampler refuses the corpus.
    """
    tables = {"face": manifests.faces["train"], "voice": manifests.voices["train"]}
    rank, num_processes = distributed.world()
    sampler = hparams["sampler"](*tables.values(), rank=rank, num_processes=num_processes)
    sampler.set_epoch(1)  # SpeechBrain counts from 1
    faces, voices, draws = zip(*next(iter(sampler))[:NUM_PAIRS], strict=True)
    rows = {
        modality: tables[modality].iloc[list(numbers)].to_dict("records")
        for modality, numbers in (("face", faces), ("voice", voices))
    }
    faces, _ = _clips(hparams, "face", rows["face"], draws)
    voices, rate = _clips(hparams, "voice", rows["voice"], draws)
    who = (np.array([row["spk_id"] for row in rows[modality]]) for modality in rows)
    return SeenClips(faces, voices, rate, *who)


def _clips(hparams, modality, rows, draws):
    """Returns the clips of a modality, stacked, and the rate of voices; None where not all have."""
    if is_cached(hparams, modality) and not hparams["frozen_features"].num_views:
        draws = [None] * len(rows)  # a frozen network is fed each clip once, as evaluation reads it
    reader = hparams["corpus"][f"{modality}_reader"]
    clips, rates = zip(
        *(_read(reader, *each) for each in zip(rows, draws, strict=True)), strict=True
    )
    if any(clip is None for clip in clips):
        return None, 0
    return np.stack(clips), max(rates)


def _read(reader, row, draw):
    """Returns a clip as training reads it before it is normalised, and the rate of a voice."""
    if hasattr(reader, "own"):
        reader, row = reader.own(row)
    taken = [row[column] for column in reader.takes]
    if "image" in reader.takes and hasattr(reader, "raw"):
        return reader.raw(*taken, draw).permute(1, 2, 0).numpy(), 0
    if "wav" in reader.takes and hasattr(reader, "sample_rate"):
        samples = (reader(*taken, draw) * 2**15).round().clamp(-(2**15), 2**15 - 1)
        return samples.to(torch.int16).numpy(), reader.sample_rate
    return None, 0  # a vector, or what a reader of the user's own makes
