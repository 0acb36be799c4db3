#!/usr/bin/env python3
"""Trains a face-voice association model and evaluates it on the test identities.

    python recipes/train.py hparams/bipcm_fst.yaml [--output_folder=DIR --key=value ...]

Prepares the corpus that the YAML includes, trains, validates every epoch, keeps the best and the
last checkpoint, evaluates the best one, and leaves report.json, table.md, table.tex, the test
embeddings, figures and logs in the output folder. Run again, it resumes where it was stopped. On
several GPUs:

    torchrun --nproc_per_node=2 recipes/train.py hparams/bipcm_fst.yaml --batch_size=64
"""

import sys

from speechbrain_fv.settings import reads
from speechbrain_fv.settings.script import answer, run_script

if __name__ == "__main__":  # before the imports that take seconds
    answer(__doc__, "bipcm_fst.yaml")

import speechbrain as sb
from speechbrain.utils.distributed import if_main_process

from speechbrain_fv.figures.loggers import log_figures
from speechbrain_fv.figures.run_figures import report_run
from speechbrain_fv.figures.seen_clips import save_seen_clips
from speechbrain_fv.settings.loading import load_hparams
from speechbrain_fv.settings.logs import LOG_CONFIG
from speechbrain_fv.training import costs, preparing, results, setup


def main(argv):
    """Reads the settings, takes the output folder, and runs."""
    run_opts, hparams, resolved_yaml = load_hparams(argv, reads.TRAIN)
    setup.check_method(hparams, run_opts)
    with setup.only_run(hparams["output_folder"], hparams["checkpointer"]):
        run(hparams, run_opts, resolved_yaml)


def run(hparams, run_opts, resolved_yaml):
    """Prepares, trains, evaluates and reports, in a folder that no other run writes to."""
    folder = hparams["output_folder"]
    sb.create_experiment_directory(folder, log_config=run_opts["log_config"] or LOG_CONFIG)
    show = save_seen_clips if hparams["draw_figures"] else None
    manifests, classes = preparing.prepared(hparams, run_opts, resolved_yaml, show)
    brain, train, valid, test = setup.make_brain(hparams, run_opts, manifests, classes)
    if not hparams["checkpointer"].list_checkpoints():
        results.save_untrained(brain, test, folder)
    with costs.measured(brain, folder):
        brain.fit(hparams["epoch_counter"], train, valid)
    brain.evaluate(test, max_key="monitor")
    others = (hparams["training"].sample, valid, hparams["challenge"])
    held_out = [None if clips is None else brain.embed(clips) for clips in others]
    if if_main_process():
        report = results.write_results(brain, *held_out, hparams)
        if hparams["draw_figures"]:
            figures, _ = report_run(folder, score=hparams["score"])
            log_figures(hparams["train_logger"], figures)
        print(report)
        print(f"Report, figures and logs: {folder}")


if __name__ == "__main__":
    sys.exit(run_script(main, __doc__))
