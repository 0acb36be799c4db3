"""A training of seconds, on vectors, through the command line."""

import numpy as np
import pandas as pd
import torch

from tests.paths import HPARAMS
from tests.processes import recipe, run_forked, wait_for

NUM_IDENTITIES, DIM = 60, 16
OPTIONS = (
    f"--face=!include:face/embedding.yaml {{input_dim: {DIM}}}",
    f"--voice=!include:voice/embedding.yaml {{input_dim: {DIM}}}",
    "--num_clusters=[4, 16]",
    "--batch_size=32",
    "--steps_per_epoch=20",
    "--number_of_epochs=4",
    "--draw_figures=False",
)


def write_corpus(folder, clips_each=4):
    """Vectors of people whose faces and voices share a latent; returns the --corpus override."""
    rng = np.random.default_rng(0)
    shared = np.repeat(rng.normal(size=(NUM_IDENTITIES, 6)), clips_each, axis=0)

    def view():
        mixed = shared @ rng.normal(size=(6, DIM))
        return (mixed + 0.5 * rng.normal(size=mixed.shape)).astype(np.float32)

    names = np.repeat([f"p{n:02}" for n in range(NUM_IDENTITIES)], clips_each)
    clips = [f"c{n}" for n in range(len(names))]
    genders = np.where(np.arange(len(names)) // clips_each % 2, "f", "m")
    np.savez(folder / "vectors.npz", clip=clips, face_vectors=view(), voice_vectors=view())
    table = pd.DataFrame({"clip": clips, "identity": names, "gender": genders})
    table.to_csv(folder / "clips.csv", index=False)
    return (
        f"--corpus=!include:corpora/embeddings.yaml {{clips_csv: {folder / 'clips.csv'}, "
        f"embeddings: {folder / 'vectors.npz'}, face_key: face_vectors, voice_key: voice_vectors}}"
    )


def command(corpus, output_folder, *options, method="bipcm_fst"):
    """Returns the command of a training; an option replaces the default of its name."""
    replaced = {option.split("=")[0] for option in options}
    defaults = [corpus, f"--output_folder={output_folder}", *OPTIONS]
    kept = [option for option in defaults if option.split("=")[0] not in replaced]
    return recipe("train", HPARAMS / f"{method}.yaml", *kept, *options)


def train(corpus, output_folder, *options, method="bipcm_fst"):
    """Returns the finished process of a training."""
    return run_forked(command(corpus, output_folder, *options, method=method))


def wait_for_step(output_folder, step, is_alive):
    """Returns once a training has logged a step; fails when it ends before."""
    path = output_folder / "train_curves.csv"

    def is_logged():
        assert is_alive()
        return path.exists() and f"\n{step}," in path.read_text()

    wait_for(is_logged, 200)


def parameters(output_folder):
    """All weights, buffers and optimiser state of the last checkpoint."""
    folder = max((output_folder / "save").glob("CKPT*"), key=lambda path: path.name)
    names = ("face_encoder", "voice_encoder", "cmwr", "objective", "optimizer")
    return {name: torch.load(folder / f"{name}.ckpt") for name in names}


def curves(output_folder):
    """The logged values, in an order that interruptions do not change."""
    table = pd.read_csv(output_folder / "train_curves.csv")
    return table.sort_values(["step", "name"], ignore_index=True)


def equal(first, second):
    """Whether nested containers hold the same, tensors bit for bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second
