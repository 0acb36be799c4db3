#!/usr/bin/env python3
"""Compares two reports on the same test identities, or two score files, by paired bootstrap.

    python recipes/compare.py A B [--metadata=M.csv] [--output_folder=results/comparison/A_vs_B]
        [--num_replicates=1000] [--bootstrap_seed=0] [--device=cuda]
        [--score='!new:speechbrain_fv.scores.NegativeL2']

A and B are output folders of train.py or evaluate.py, or embeddings as evaluate.py takes them
(.npz; the other options are for these). Prints B - A with its 95 % interval and the share of
replicates in which B is greater, and leaves compare.json, table.md and table.tex in the output
folder, which is named after both. A folder with the comparison of others is refused.

    python recipes/compare.py A.txt B.txt --truth=T.txt [--submitted=similarity] [--people=P.csv]

A and B are submissions of a challenge, lines "key score", whoever made them; T has lines "key
label", P the columns key, face and voice: who is on either side, for intervals over people.
"""

import json
import sys
from pathlib import Path

from speechbrain_fv.settings.script import Parser, answer, run_script


def parse(argv):
    """Returns the options of the command line."""
    parser = Parser("compare.py", __doc__)
    parser.add_argument("a", metavar="A")
    parser.add_argument("b", metavar="B")
    parser.add_argument("--metadata")
    parser.add_argument("--output_folder")
    parser.add_argument("--num_replicates", type=int, default=1000)
    parser.add_argument("--bootstrap_seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--truth")
    parser.add_argument("--submitted", default="distance")
    parser.add_argument("--people")
    parser.add_argument("--score", default="!new:speechbrain_fv.scores.Cosine")
    return parser.parse_args(argv)


if __name__ == "__main__":  # before the imports that take seconds
    answer(__doc__, parse=parse)

from hyperpyyaml import load_hyperpyyaml

from speechbrain_fv.evaluation.paired import compare_reports, format_comparison, open_report
from speechbrain_fv.evaluation.report_sheets import comparison_sheet
from speechbrain_fv.evaluation.score_files import compare_score_files
from speechbrain_fv.evaluation.sheets import write_sheets
from speechbrain_fv.files import only_process, replacing
from speechbrain_fv.scores import with_weights


def main(argv):
    """Opens both, compares and reports."""
    options = vars(parse(argv))
    truth, submitted, people = (options.pop(key) for key in ("truth", "submitted", "people"))
    options["score"] = with_weights(load_hyperpyyaml(f"score: {options['score']}")["score"])
    sources = [options.pop("a"), options.pop("b")]
    folder = Path(options.pop("output_folder") or default_folder(sources))
    with only_process(folder):
        check_folder(folder, sources)
        comparison = compared(sources, truth, submitted, people, options)
        with replacing(folder / "compare.json") as file:
            content = {"A": sources[0], "B": sources[1], "values": comparison}
            file.write(json.dumps(content, indent=2, allow_nan=False).encode() + b"\n")
        write_sheets(folder, [comparison_sheet(comparison, sources)])
    print(f"A: {sources[0]}\nB: {sources[1]}")
    print(format_comparison(comparison))
    print(f"Comparison: {folder / 'compare.json'}")


def default_folder(sources):
    """Returns results/comparison/<A>_vs_<B>, of the last two names of each path."""
    names = ["-".join(Path(source).absolute().parts[1:][-2:]) for source in sources]
    return Path("results/comparison") / "_vs_".join(names)


def check_folder(folder, sources):
    """Raises ValueError if a folder holds the comparison of others."""
    path = folder / "compare.json"
    if not path.is_file():
        return
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        held = [content["A"], content["B"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: no comparison ({error}); give another --output_folder") from None
    if held != sources:
        raise ValueError(
            f"output_folder: {folder} holds the comparison of {held[0]} and {held[1]}; give another"
        )


def compared(sources, truth, submitted, people, options):
    """Returns the comparison of two score files where there is a truth, else of two reports."""
    if truth:
        bootstrap = {name: options[name] for name in ("num_replicates", "bootstrap_seed")}
        return compare_score_files(sources, truth, submitted, people, **bootstrap)
    if any(source.endswith(".txt") for source in sources):
        raise ValueError("truth: expected a file of lines 'key label' to compare score files by")
    return compare_reports(*(open_report(source, **options) for source in sources))


if __name__ == "__main__":
    sys.exit(run_script(main, __doc__))
