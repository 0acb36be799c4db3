#!/usr/bin/env python3
"""Draws the validation AUC of several runs in one figure.

    python recipes/compare_curves.py FIGURE LABEL=RUN_FOLDER [LABEL=RUN_FOLDER ...]

FIGURE.png and FIGURE.pdf are written; of a name with one of these endings, both. At most six runs.
"""

import sys
from pathlib import Path

from speechbrain_fv.settings.script import Parser, answer, run_script


def parse(argv):
    """Returns the options of the command line."""
    parser = Parser("compare_curves.py", __doc__)
    parser.add_argument("figure", metavar="FIGURE", type=Path)
    parser.add_argument("runs", metavar="LABEL=RUN_FOLDER", nargs="+")
    return parser.parse_args(argv)


if __name__ == "__main__":  # before the imports that take seconds
    answer(__doc__, parse=parse)

from speechbrain_fv.figures import plots


def main(argv):
    """Reads the runs' training curves and draws them."""
    options = parse(argv)
    if len(options.runs) > 6 or not all("=" in run for run in options.runs):
        raise ValueError(f"expected FIGURE and one to six LABEL=RUN_FOLDER, got {argv}")
    stem = options.figure
    stem = stem.with_suffix("") if stem.suffix in (".png", ".pdf") else stem
    for path in plots.plot_comparison(dict(run.split("=", 1) for run in options.runs), stem):
        print(path)


if __name__ == "__main__":
    sys.exit(run_script(main, __doc__))
