#!/usr/bin/env python3
"""Trains a face-voice association model and evaluates it on the test identities.

    python recipes/train.py hparams/bipcm_fst.yaml [--output_folder=DIR --key=value ...]

Prepares the corpus that the YAML includes, trains, validates every epoch, keeps the best and the
last checkpoint, evaluates the best one, and leaves report.json, the test embeddings, figures and
logs in the output folder. Run again, it resumes where it was stopped. On several GPUs:

    torchrun --nproc_per_node=2 recipes/train.py hparams/bipcm_fst.yaml --batch_size=64
"""

import sys
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.dataio.encoder import CategoricalEncoder
from speechbrain.utils.distributed import if_main_process, run_on_main

from speechbrain_fv import distributed
from speechbrain_fv.data.manifests import load_manifests, without_training_identities
from speechbrain_fv.data.pairs import clip_dataset, evaluation_loader, training_loader
from speechbrain_fv.data.schema import SPLITS
from speechbrain_fv.evaluation.embeddings import save_embeddings
from speechbrain_fv.evaluation.exact import evaluate, format_report, save_report
from speechbrain_fv.evaluation.groups import evaluate_groups
from speechbrain_fv.figures.loggers import log_figures
from speechbrain_fv.figures.run_figures import report_run
from speechbrain_fv.files import replacing, write_table
from speechbrain_fv.protocols.leakage import TrainIdentities
from speechbrain_fv.settings import reads
from speechbrain_fv.settings.script import load_hparams, run_script
from speechbrain_fv.training.brain import FaceVoiceBrain


def check_sizes(manifests):
    """Raises ValueError for a split in which no face meets the voice of somebody else."""
    counts = manifests.identities.split.value_counts()
    for split in SPLITS:
        if counts[split] < 2:
            raise ValueError(
                f"split {split!r}: expected at least 2 identities, got {counts[split]}"
            )


def prepare(hparams, resolved_yaml):
    """Writes the record of the settings and the manifests of the corpus."""
    Path(hparams["output_folder"], "hyperparams.yaml").write_text(resolved_yaml, encoding="utf-8")
    hparams["corpus"]["prepare"](manifest_folder=hparams["manifest_folder"])


def check_same_run(checkpointer, corpus_key, global_batch=None):
    """Raises ValueError if there are checkpoints and other data or batches were trained on.

    A resumed run goes on with the pairs that its checkpoint has not seen, which takes batches of
    the same size; None, for a run that does not train, allows any.
    """
    folder = checkpointer.checkpoints_dir
    records = {
        "corpus_key.txt": (corpus_key, "on other data than this run's"),
    }
    if global_batch is not None:
        difference = f"with another batch than this run's {global_batch} pairs over all processes"
        records["global_batch.txt"] = (str(global_batch), difference)
    for name, (value, difference) in records.items():
        record = folder / name
        if checkpointer.list_checkpoints() and record.is_file() and record.read_text() != value:
            raise ValueError(
                f"{folder}: its checkpoints were trained {difference}, see {name}; choose another "
                "--output_folder, or delete this folder to start again"
            )
    for name, (value, _) in records.items():
        with replacing(folder / name) as file:
            file.write(value.encode())


def class_indices(manifests, attributes):
    """Returns attribute -> training identity -> class index; unknown labels are left out."""
    identities = manifests.identities
    identities = identities[identities.split == "train"]
    classes = {}
    for attribute in attributes:
        known = identities[identities[attribute] != ""]
        encoder = CategoricalEncoder()
        encoder.ignore_len()  # the classes are whatever the corpus has
        encoder.update_from_iterable(sorted(known[attribute].unique()))
        classes[attribute] = {
            identity: encoder.encode_label(label)
            for identity, label in zip(known.identity, known[attribute], strict=True)
        }
    return classes


def fit_networks(hparams, manifests):
    """Gives networks on precomputed vectors the statistics of the training vectors."""
    for modality, table in (("face", manifests.faces), ("voice", manifests.voices)):
        network = hparams[f"{modality}_encoder"].network
        if hasattr(network, "fit"):
            reader = hparams["corpus"][f"{modality}_reader"]
            network.fit(torch.stack([reader(clip, None) for clip in table["train"].ID]))


def train_identities(manifests):
    """Returns the identities of the training clips, which every checkpoint stores."""
    clips = (manifests.faces["train"], manifests.voices["train"])
    return TrainIdentities(name for table in clips for name in table.spk_id)


def loaders(hparams, manifests, classes):
    """Returns the sampler of training pairs and the loaders of the three splits."""
    datasets = {
        split: [
            clip_dataset(table[split], modality, hparams["corpus"][f"{modality}_reader"], targets)
            for modality, table, targets in (
                ("face", manifests.faces, {}),
                ("voice", manifests.voices, classes),
            )
        ]
        for split in SPLITS
    }
    rank, num_processes = distributed.world()
    sampler = hparams["sampler"](
        manifests.faces["train"].spk_id.tolist(),
        manifests.voices["train"].spk_id.tolist(),
        rank=rank,
        num_processes=num_processes,
    )
    workers = hparams["num_workers"]
    train = training_loader(*datasets["train"], sampler, workers)
    held_out = [
        evaluation_loader(*datasets[split], hparams["batch_size"], workers, rank, num_processes)
        for split in ("valid", "test")
    ]
    return sampler, train, *held_out


def save_untrained(brain, test, folder):
    """Writes the test embeddings of the untrained model, which figures show beside the trained."""
    embeddings = brain.embed(test)
    run_on_main(save_embeddings, [Path(folder, "embeddings_untrained.npz"), embeddings])


def write_results(brain, valid, hparams):
    """Evaluates the test embeddings of the Brain and writes everything a reader may want.

    Those of the validation split are written for the calibration of an export.
    """
    folder = Path(hparams["output_folder"])
    metadata = brain.hparams.metadata.drop(columns="split")
    metadata = metadata[metadata.identity.isin(brain.embeddings.identities)]
    save_embeddings(folder / "embeddings_test.npz", brain.embeddings)
    save_embeddings(folder / "embeddings_valid.npz", valid)
    write_table(metadata, folder / "metadata_test.csv")
    report = evaluate(brain.embeddings, metadata, device=brain.device, progress=True)
    report["training"] = brain.training_summary()
    if len(metadata.columns) > 1:
        report["groups"] = evaluate_groups(brain.embeddings, metadata, device=brain.device)
    save_report(folder / "report.json", report)
    if hparams["draw_figures"]:
        figures, _ = report_run(folder)
        log_figures(hparams["train_logger"], figures)
    print(format_report(report))
    print(f"Report, figures and logs: {folder}")


def main(argv):
    """Prepares, trains, evaluates and reports."""
    run_opts, hparams, resolved_yaml = load_hparams(argv, reads.TRAIN)
    global_batch = hparams["batch_size"] * distributed.world()[1]
    hparams["objective"].check_batch_size(global_batch)
    sb.create_experiment_directory(hparams["output_folder"])
    run_on_main(prepare, [hparams, resolved_yaml])
    manifests = without_training_identities(
        load_manifests(hparams["manifest_folder"]),
        hparams["num_removed_identities"],
        hparams["seed"],
    )
    check_sizes(manifests)
    run_on_main(
        check_same_run,
        [
            hparams["checkpointer"],
            manifests.preparation["key"],
            None if run_opts["test_only"] else global_batch,
        ],
    )
    classes = class_indices(manifests, hparams["attributes"])
    hparams["objective"].set_classes(
        {name: len(set(class_of.values())) for name, class_of in classes.items()}
    )
    fit_networks(hparams, manifests)
    sampler, train, valid, test = loaders(hparams, manifests, classes)
    steps_per_epoch = max(1, len(sampler) // run_opts["grad_accumulation_factor"])
    hparams["lr_schedule"] = hparams["lr_schedule"](
        total_steps=hparams["number_of_epochs"] * steps_per_epoch
    )
    hparams["metadata"] = manifests.identities
    hparams["checkpointer"].add_recoverables(
        {
            "lr_schedule": hparams["lr_schedule"],
            "dataloader-TRAIN": train,
            "train_identities": train_identities(manifests),
        }
    )
    brain = FaceVoiceBrain(
        hparams["modules"], hparams["opt_class"], hparams, run_opts, hparams["checkpointer"]
    )
    brain.train_sampler = sampler
    if not hparams["checkpointer"].list_checkpoints():
        save_untrained(brain, test, hparams["output_folder"])
    brain.fit(hparams["epoch_counter"], train, valid)
    brain.evaluate(test, max_key="auc")
    valid_embeddings = brain.embed(valid)
    if if_main_process():
        write_results(brain, valid_embeddings, hparams)


if __name__ == "__main__":
    sys.exit(run_script(main, __doc__))
