"""Whether a bundle gives the embeddings of the training, in a process that knows nothing of it."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from speechbrain_fv.corpora.precomputed import load_vectors
from speechbrain_fv.data.manifests import load_manifests
from speechbrain_fv.evaluation.embeddings import load_embeddings
from speechbrain_fv.inference import FaceVoiceAssociation
from speechbrain_fv.media.audio import AudioFile
from speechbrain_fv.messages import in_one_line

TOLERANCE = 1e-6
"""Largest difference of an embedding's values, which lie in (-1, 1)."""

NUM_CLIPS = 64
"""Clips of each modality that are compared, spread over the test split."""


def check_bundle(bundle_folder, run_folder, device="cpu"):
    """Loads a bundle in a fresh process and compares its embeddings with the training's.

    Arguments
    ---------
    bundle_folder, run_folder : path
    device : str
        That of the training; on another one the last digits differ.

    Returns
    -------
    differences : dict
        ``face`` and ``voice``: the largest difference; ``num_faces``, ``num_voices``.

    Raises
    ------
    ValueError
        If the bundle cannot be loaded, the clips of the test split are gone, or a difference
        exceeds `TOLERANCE`.
    """
    paths = [str(Path(path).resolve()) for path in (bundle_folder, run_folder)]
    with tempfile.TemporaryDirectory() as elsewhere:
        child = subprocess.run(
            [sys.executable, "-m", "speechbrain_fv.publish.check", *paths, "--device", device],
            cwd=elsewhere,
            capture_output=True,
            text=True,
        )
    if child.returncode:
        lines = child.stderr.strip().splitlines() or ["no message"]
        raise ValueError(f"{bundle_folder}: it could not be loaded again: {lines[-1]}")
    differences = json.loads(child.stdout.splitlines()[-1])
    for modality in ("face", "voice"):
        if not differences[modality] <= TOLERANCE:
            raise ValueError(
                f"{bundle_folder}: its {modality} embeddings differ from those of the training by "
                f"up to {differences[modality]:.1e}, expected at most {TOLERANCE}; export on the "
                "device of the training (--device)"
            )
    return differences


def compare(bundle_folder, run_folder, device):
    """Returns the largest differences between a bundle's and a training's test embeddings."""
    model = FaceVoiceAssociation.from_hparams(bundle_folder, run_opts={"device": device})
    trained = load_embeddings(Path(run_folder, "embeddings_test.npz"))
    manifests = load_manifests(Path(run_folder, "manifests"))
    differences = {}
    for modality, table in (("face", manifests.faces), ("voice", manifests.voices)):
        rows = table["test"].set_index("ID").loc[getattr(trained, f"{modality}_id")]
        whole = np.flatnonzero([_is_whole(row) for row in rows.itertuples()])
        if not len(whole):
            raise ValueError(f"{run_folder}: no {modality} clip of the test split is a whole file")
        chosen = whole[np.linspace(0, len(whole) - 1, min(NUM_CLIPS, len(whole))).astype(int)]
        embeddings = _encode(model, modality, rows.iloc[chosen], manifests.preparation)
        expected = torch.as_tensor(getattr(trained, modality)[chosen])
        differences[modality] = float((embeddings.cpu() - expected).abs().max())
        differences[f"num_{modality}s"] = len(chosen)
    return differences


def _is_whole(row):
    """Whether a row stands for all of its file, as a file given to the model does."""
    if not hasattr(row, "wav") or row.wav.endswith(".npz"):
        return True
    with AudioFile(row.wav) as file:  # the header of a compressed file may count otherwise
        return row.start == 0 and row.stop == round(row.duration * file.rate)


def training_vectors(options, modality):
    """Returns the vector of every clip of a modality, by the options of the preparation."""
    place = ("face", "voice").index(modality)
    ids_key, *keys = options["keys"]
    ids_key = options.get("ids_keys", [ids_key] * 2)[place]
    ids, (table,) = load_vectors(options["embeddings"], ids_key, [keys[place]])
    return dict(zip(ids, table, strict=True))


def _encode(model, modality, rows, preparation):
    column = "image" if modality == "face" else "wav"
    if rows[column].iloc[0].endswith(".npz"):  # precomputed vectors
        vectors = training_vectors(preparation["options"], modality)
        given = torch.as_tensor(np.stack([vectors[clip] for clip in rows.index])).float()
        if model.config[f"{modality}_input"] != "vector":  # its encoder stands in front of the head
            model.mods[f"{modality}_encoder"].takes_features = True
        return model._embed(modality, given, len(given))
    if modality == "face":
        return model.encode_face_files(rows.image.tolist(), detect_faces=False)  # crops already
    return model.encode_voice_files(rows.wav.tolist())


def main():
    """Prints the differences as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle_folder")
    parser.add_argument("run_folder")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    try:
        print(json.dumps(compare(**vars(arguments))))
    except (ValueError, OSError) as error:
        sys.exit(in_one_line(error, most=None))


if __name__ == "__main__":
    main()
