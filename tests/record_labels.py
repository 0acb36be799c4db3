"""Runs a script and saves the pseudo-labels of its training: ``record_labels.py FILE SCRIPT ...``.

Under torchrun FILE gets the rank as a suffix.
"""

import os
import runpy
import sys

import torch

from speechbrain_fv.pseudo_labels import PseudoLabeler

labels = []


def keep_labels(module, inputs, output):
    if isinstance(module, PseudoLabeler) and module.training:
        labels.append(output.clone())


if __name__ == "__main__":
    _, file, *sys.argv = sys.argv
    torch.nn.modules.module.register_module_forward_hook(keep_labels)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        torch.save(labels, f"{file}.{os.environ.get('RANK', 0)}")
