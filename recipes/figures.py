#!/usr/bin/env python3
"""Draws every figure that the files of a run allow, and collects them in one HTML file.

    python recipes/figures.py RUN_FOLDER [--output_folder=DIR]

RUN_FOLDER is the output folder of train.py or evaluate.py. Writes figures/*.png, figures/*.pdf and
report.html there, or in DIR, and says which figures are missing and why. No model is loaded:
scores with weights are drawn by train.py and evaluate.py alone.
"""

import sys
from pathlib import Path

from speechbrain_fv.settings.script import Parser, answer, run_script


def parse(argv):
    """Returns the options of the command line."""
    parser = Parser("figures.py", __doc__)
    parser.add_argument("folder")
    parser.add_argument("--output_folder")
    return parser.parse_args(argv)


if __name__ == "__main__":  # before the imports that take seconds
    answer(__doc__, parse=parse)

from speechbrain_fv.figures.run_figures import report_run
from speechbrain_fv.figures.run_files import RunFiles
from speechbrain_fv.files import only_process


def main(argv):
    """Draws, and tells what was drawn."""
    options = parse(argv)
    output_folder = options.output_folder or options.folder
    files = RunFiles(options.folder)  # an error where there is no such folder
    with only_process(Path(output_folder, "figures")):
        figures, missing = report_run(files.folder, output_folder)
    for figure in figures:
        print(f"{figure.title}: {figure.paths[0]}")
    for title, reason in missing.items():
        print(f"{title}: not drawn, {reason}")
    print(f"All in one file: {output_folder}/report.html")


if __name__ == "__main__":
    sys.exit(run_script(main, __doc__))
