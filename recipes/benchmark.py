#!/usr/bin/env python3
"""Measures a part of the project beside its peers, in one run on the same inputs.

    python recipes/benchmark.py pseudo-labels [--device=cuda] [--json=FILE] [--max_batch=N]
    python recipes/benchmark.py evaluation [--device=cuda] [--json=FILE] [--peer_clips=2000]
    python recipes/benchmark.py search [--sizes=10000,1000000] [--dim=256] [--json=FILE]
    python recipes/benchmark.py training [--device=cuda] [--data_only] [--json=FILE]
    python recipes/benchmark.py size [--sizes=20000,200000] [--json=FILE]

Peers that are not installed are named with what to install.
"""

import importlib
import sys

from speechbrain_fv.settings.script import run_script

# Subcommand -> module of speechbrain_fv.experiments.benchmarks whose main(argv) runs it.
BENCHMARKS = {
    "pseudo-labels": "pseudo_labels",
    "evaluation": "evaluation",
    "search": "search",
    "training": "training",
    "size": "size",
}


def main(argv):
    """Runs the benchmark named first with the arguments after it."""
    if argv[0] in ("-h", "--help"):
        print(__doc__.strip())
        return
    if argv[0] not in BENCHMARKS:
        raise ValueError(f"benchmark: expected one of {', '.join(BENCHMARKS)}, got {argv[0]!r}")
    importlib.import_module(f"speechbrain_fv.experiments.benchmarks.{BENCHMARKS[argv[0]]}").main(
        argv[1:]
    )


if __name__ == "__main__":
    sys.exit(run_script(main, __doc__))
