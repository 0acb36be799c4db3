"""The notebook in docs/, run by Jupyter as a reader runs it."""

import os

import nbformat
from nbclient import NotebookClient

from tests.paths import ROOT

NOTEBOOK = ROOT / "docs" / "first_hour.ipynb"
STABLE = ("draw_identities", "evaluate(")  # cells that print the same on every machine


def kinds(cell):
    """Returns what a cell leaves: text that it prints, pictures, tables, sound."""
    return [sorted(output.get("data", {output.output_type: ""})) for output in cell.outputs]


def printed(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


def test_the_notebook_leaves_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    shown = nbformat.read(NOTEBOOK, as_version=4)
    again = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(again, timeout=600).execute()
    cells = [pair for pair in zip(again.cells, shown.cells, strict=True) if "outputs" in pair[0]]
    for run, stored in cells:
        for output in run.outputs:  # a second form of the same picture
            output.get("data", {}).pop("image/jpeg", None)
        kind = [name for name in kinds(run) if name != ["stream"]]
        assert kind == [name for name in kinds(stored) if name != ["stream"]], run.source
        assert bool(printed(run)) == bool(printed(stored)), run.source
    stable = [pair for pair in cells if any(part in pair[0].source for part in STABLE)]
    assert len(stable) == len(STABLE)
    assert all(printed(run) == printed(stored) for run, stored in stable)
