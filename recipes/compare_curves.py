#!/usr/bin/env python3
"""Draws the validation AUC of several runs in one figure.

    python recipes/compare_curves.py FIGURE LABEL=RUN_FOLDER [LABEL=RUN_FOLDER ...]

FIGURE has no ending: FIGURE.png and FIGURE.pdf are written. At most six runs.
"""

import sys

from speechbrain_fv.figures import plots
from speechbrain_fv.settings.script import run_script


def main(argv):
    """Reads the runs' training curves and draws them."""
    stem, *runs = argv
    if not 1 <= len(runs) <= 6 or not all("=" in run for run in runs):
        raise ValueError(f"expected FIGURE and one to six LABEL=RUN_FOLDER, got {argv}")
    for path in plots.plot_comparison(dict(run.split("=", 1) for run in runs), stem):
        print(path)


if __name__ == "__main__":
    sys.exit(run_script(main, __doc__))
