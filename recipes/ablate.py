#!/usr/bin/env python3
"""Trains grids of variants under several seeds and tabulates them.

    python recipes/ablate.py hparams/ablations.yaml [--grids=table4,tau --seeds='[1, 2]' ...]

Leaves ablations.csv, table.md, table.tex and figures/ in the output folder, and every run in
<grid>/<variant>/<seed> there. Run again, it goes on where it was stopped and repeats nothing that
is done. --dry_run lists the runs. A run that fails is reported at the end, with exit code 1.
--cluster='{cluster: slurm, timeout_min: 240}' hands the runs to SLURM.
"""

import sys
from pathlib import Path

from speechbrain_fv.settings import reads
from speechbrain_fv.settings.script import answer, run_script

if __name__ == "__main__":  # before the imports that take seconds
    answer(__doc__, "ablations.yaml", reads.ABLATE_OPTIONS)

from speechbrain_fv.evaluation.sheets import write_sheets
from speechbrain_fv.experiments.ablations import figures, grids, results, schedule, tables
from speechbrain_fv.experiments.ablations.cluster import starter
from speechbrain_fv.files import write_table
from speechbrain_fv.settings.loading import load_hparams

TRAIN = Path(__file__).resolve().with_name("train.py")


def write_results(hparams, plan, selected):
    """Writes the table, the text and the figures of the runs that are done."""
    folder = Path(hparams["output_folder"])
    references = {name: grids.reference_of(grid) for name, grid in selected.items()}
    table = results.collect(plan, references)
    if table.empty:
        return
    write_table(table, folder / "ablations.csv")
    missing = ["/".join(map(str, cell)) for cell, run in plan.items() if not run.is_done]
    sheets = tables.build(table, selected, references)
    write_sheets(folder, sheets, introduction=tables.introduction(table, missing))
    figures.plot_ablations(folder / "ablations.csv", selected, folder / "figures")
    print(f"Tables and figures: {folder}")


def main(argv):
    """Plans, runs, tabulates."""
    _, hparams, _ = load_hparams(argv, reads.ABLATE, reads.ABLATE_OPTIONS)
    names = grids.select_grids(hparams["ablations"], hparams["grids"])
    slots = schedule.check_slots(hparams["devices"], hparams["jobs"])
    variants = grids.expand_grids(hparams["ablations"], hparams["hparams_file"], hparams["base"])
    plan = grids.plan_runs(variants, hparams["seeds"], hparams["output_folder"], names)
    runs = list({run.name: run for run in plan.values()}.values())
    if hparams["dry_run"] in (True, None):  # None: the flag without a value
        for run in runs:
            print("done" if run.is_done else "to do", run.name, *run.arguments[1:])
        print(f"{len(plan)} cells, {len(runs)} runs, {sum(run.is_done for run in runs)} done")
        return
    start = starter(hparams["cluster"], slots)
    failures, stopped = schedule.run_missing(runs, TRAIN, slots, "ablations", start)
    write_results(hparams, plan, {name: hparams["ablations"][name] for name in names})
    schedule.finish(failures, stopped)


if __name__ == "__main__":
    sys.exit(run_script(main, __doc__))
