"""What a corpus costs by its rows alone: the own memory of a reading process, and time to begin.

No media are read: the reader returns a vector of one number, so that rows are all that is left.
"""

import argparse
import json
import re
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from speechbrain_fv.data.pairs import clip_dataset, training_loader
from speechbrain_fv.data.samplers import PairSampler


class NoReader:
    """Takes what an image or a recording takes, and reads nothing."""

    def __init__(self, modality):
        self.takes = {"face": ("image",), "voice": ("wav", "start", "stop", "speech")}[modality]

    def __call__(self, *args):
        """Returns a vector, shape (1,)."""
        return torch.zeros(1)


def made_up_rows(num_rows, modality, clips_each=100):
    """Returns a manifest of rows as long as VoxCeleb's."""
    numbers = np.arange(num_rows)
    person, clip = numbers // clips_each, numbers % clips_each
    names = [
        f"id{who:05d}/v{which:010d}/{which:05d}" for who, which in zip(person, clip, strict=True)
    ]
    paths = [f"/data/voxceleb/dev/{modality}/{name}.dat" for name in names]
    table = pd.DataFrame({"ID": names, "spk_id": [name[:7] for name in names]})
    if modality == "face":
        return table.assign(image=paths)
    return table.assign(wav=paths, start=0, stop=128000, speech="4000:60000;70000:120000")


def own_bytes(pid):
    """Returns the memory of a process that it shares with no other (USS), in bytes."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * sum(int(kb) for kb in re.findall(r"Private_\w+: +(\d+) kB", text))


def measure(num_faces, num_voices, num_workers=2):
    """Returns seconds to make the datasets, and MiB of a worker after an epoch, in a dict."""
    tables = made_up_rows(num_faces, "face"), made_up_rows(num_voices, "voice")
    start = time.perf_counter()
    sets = [
        clip_dataset(table, modality, NoReader(modality), {})
        for table, modality in zip(tables, ("face", "voice"), strict=True)
    ]
    seconds = time.perf_counter() - start
    steps = -(-max(num_faces, num_voices) // 256)
    sampler = PairSampler(*tables, 256, steps_per_epoch=steps, sampling="clips")
    loader = training_loader(*sets, sampler, num_workers)
    batches = iter(loader)
    for _ in range(steps):
        next(batches)
    workers = batches._workers if hasattr(batches, "_workers") else loader._iterator._workers
    return {
        "faces": num_faces,
        "voices": num_voices,
        "seconds_to_make": round(seconds, 2),
        "worker_mib": round(max(own_bytes(worker.pid) for worker in workers) / 2**20, 1),
    }


def main(argv):
    """Runs the command ``size``."""
    warnings.filterwarnings("ignore", module="speechbrain.utils.data_utils")  # of vectors of one
    parser = argparse.ArgumentParser(prog="benchmark.py size", description=__doc__)
    parser.add_argument("--sizes", default="20000,200000", help="rows of a modality, by commas")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args(argv)
    try:
        sizes = [int(size) for size in options.sizes.split(",")]
    except ValueError:
        raise ValueError(f"--sizes: expected numbers by commas, got {options.sizes!r}") from None
    results = []
    for size in sizes:
        results.append(measure(size, size))
        print(results[-1])
    slope = (results[-1]["worker_mib"] - results[0]["worker_mib"]) * 2**20
    if sizes[-1] > sizes[0]:
        print(f"{slope / 2 / (sizes[-1] - sizes[0]):.0f} bytes per row in every reading process")
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1))
