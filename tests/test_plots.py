"""Figures show the report's numbers, leave gaps where a value is undefined, and are written."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from speechbrain_fv import plots


def report():
    """Returns a report with an undefined stratum and a value without trials."""
    curve = {str(n): {"accuracy": 1.5 / n, "num_probes": 9} for n in range(2, 11)}
    short = {**curve, "10": {"accuracy": None, "num_probes": 0}}
    strata = {"U": curve, "G": short, "N": None, "GN": None}
    values = [{"auc": 0.8}, {"auc": 0.45}, None, {"auc": None}, None]
    return {
        "matching": {"F-V": strata, "V-F": strata},
        "verification": dict(zip(("U", "G", "N", "A", "GNA"), values, strict=True)),
    }


def curves(names, num_steps=10):
    """Returns a training log in which every value is its step."""
    steps = range(1, num_steps + 1)
    return pd.DataFrame(
        [(step, 1, name, step) for step in steps for name in names],
        columns=["step", "epoch", "name", "value"],
    )


def test_matching_curves_hold_the_report():
    for axes in plots.matching_figure(report()).axes:
        unrestricted, gender, chance = axes.lines
        assert unrestricted.get_ydata() == pytest.approx([150 / n for n in range(2, 11)])
        assert np.isnan(gender.get_ydata()[-1])
        assert chance.get_label() == "chance"
        assert chance.get_ydata() == pytest.approx([100 / n for n in range(2, 11)])


def test_verification_bars_start_at_chance():
    axes = plots.verification_figure(report()).axes[0]
    tops = [bar.get_y() + bar.get_height() for bar in axes.patches]
    assert tops == pytest.approx([80, 45, 50, 50, 50])
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["80.0", "45.0", "undefined", "undefined", "undefined", "chance"]


def test_training_has_a_panel_per_kind_and_ignores_the_rest():
    log = curves(["loss", "lr", "L_id", "L_KL", "agreement_q8", "valid_auc_U", "valid_eer_U"])
    losses, agreement, auc = plots.training_figure(log).axes
    assert [line.get_label() for line in losses.lines] == ["L_id", "L_KL"]
    assert [line.get_label() for line in agreement.lines] == ["q8"]
    assert [line.get_label() for line in auc.lines] == ["U", "chance"]
    assert losses.lines[0].get_ydata() == pytest.approx(range(1, 11))
    assert len(plots.training_figure(curves(["L_id"])).axes) == 1


def test_long_training_is_averaged_without_a_shift():
    line = plots.training_figure(curves(["L_id"], num_steps=6000)).axes[0].lines[0]
    assert len(line.get_xdata()) == 60
    assert line.get_ydata() == pytest.approx(line.get_xdata())
    assert line.get_xdata()[0] == 50.5


def test_training_without_known_names_is_refused():
    with pytest.raises(ValueError, match=r"expected names starting with .*found \['lr'\]"):
        plots.training_figure(curves(["lr"]))


def test_files_are_written(tmp_path):
    curves(["L_id"]).to_csv(tmp_path / "train_curves.csv", index=False)
    paths = plots.plot_report(report(), tmp_path / "figures")
    paths += plots.plot_training(tmp_path / "train_curves.csv", tmp_path / "figures")
    stems = [f"{path.parent.name}/{path.name}" for path in paths]
    assert stems == [
        f"figures/{name}.{suffix}"
        for name in ("matching", "verification", "training")
        for suffix in ("png", "pdf")
    ]
    for path in paths:
        assert path.read_bytes()[:4] == (b"%PDF" if path.suffix == ".pdf" else b"\x89PNG")
    assert plots.plot_report({"retrieval": {}}, tmp_path) == []


def test_plots_load_neither_torch_nor_pyplot():
    code = (
        "import sys, speechbrain_fv.plots; print({'torch', 'matplotlib.pyplot'} & {*sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
