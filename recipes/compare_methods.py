#!/usr/bin/env python3
"""Trains methods under several seeds, and in folds, on one corpus, and writes the paper's tables.

    python recipes/compare_methods.py hparams/comparison.yaml [--only=infonce,ssos ...]

First the candidates of every method are trained at the first seed; those that do best on validation
people are trained at the other seeds. Leaves table.md, table.tex, comparison.csv,
tuning.csv, costs.csv and figures/ in the output folder, and every run in
<method>[/fold_<i>]/<candidate>/<seed> there. Run again, it goes on where it was stopped and repeats
nothing that is done. --dry_run lists the runs. A run that fails is reported at the end, with exit
code 1. --cluster='{cluster: slurm, timeout_min: 240}' hands the runs to SLURM.
"""

import sys
from pathlib import Path

from speechbrain_fv.settings import reads
from speechbrain_fv.settings.script import answer, run_script

if __name__ == "__main__":  # before the imports that take seconds
    answer(__doc__, "comparison.yaml", reads.COMPARE_OPTIONS)

from speechbrain_fv.experiments.ablations import grids, schedule
from speechbrain_fv.experiments.ablations.cluster import starter
from speechbrain_fv.experiments.comparison import methods as rows
from speechbrain_fv.experiments.comparison import tuning, values, writing
from speechbrain_fv.settings.loading import load_hparams

TRAIN = Path(__file__).resolve().with_name("train.py")


def planned(hparams):
    """Returns the methods, the seeds, and the runs of all candidates."""
    methods = rows.read_methods(
        *(hparams[name] for name in ("methods", "base", "tuning", "only", "tune"))
    )
    seeds = hparams["seeds"]
    seeds = [seeds] if isinstance(seeds, int) else seeds
    variants = rows.expand_methods(methods, hparams["num_folds"])
    selected = {variant.grid for variant in variants}
    return methods, seeds, grids.plan_runs(variants, seeds, hparams["output_folder"], selected)


def distinct(runs):
    """Returns the runs, each once."""
    return list({run.name: run for run in runs}.values())


def main(argv):
    """Plans, tunes, trains, tabulates."""
    _, hparams, _ = load_hparams(argv, reads.COMPARE, reads.COMPARE_OPTIONS)
    slots = schedule.check_slots(hparams["devices"], hparams["jobs"])
    methods, seeds, plan = planned(hparams)
    reference = rows.reference_of(methods, hparams["reference"])
    num_folds = hparams["num_folds"]
    candidates = distinct(run for (_, _, seed), run in plan.items() if seed == seeds[0])
    if hparams["dry_run"] in (True, None):  # None: the flag without a value
        for run in candidates:
            print("done" if run.is_done else "to do", run.name, *run.arguments)
        num_more = len(distinct(values.first_of_each(plan, seeds[1:])))
        print(f"{len(candidates)} runs to tune, then {num_more} more of what is chosen")
        return
    start = starter(hparams["cluster"], slots)
    failures, stopped = schedule.run_missing(candidates, TRAIN, slots, "tuning", start)
    chosen, table = tuning.choose(methods, plan, seeds[0], num_folds)
    runs = values.chosen_runs(plan, chosen, seeds)
    if not stopped:
        failed, stopped = schedule.run_missing(
            distinct(runs.values()), TRAIN, slots, "seeds", start
        )
        failures |= failed
    writing.write_all(hparams, methods, reference, runs, plan, table)
    schedule.finish(failures, stopped)


if __name__ == "__main__":
    sys.exit(run_script(main, __doc__))
