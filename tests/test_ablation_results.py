"""Finished runs of a plan -> table, text, figures."""

import json

import numpy as np
import pandas as pd
import pytest

from speechbrain_fv.evaluation.sheets import write_sheets
from speechbrain_fv.experiments.ablations import figures, grids, results, tables
from tests.references import ablations as reference
from tests.tables import tabulars


def save_replicates(run, draws, identities=("ann", "bob")):
    arrays = {"verification/U/auc": draws, "identities": np.array(identities), "seed": 0}
    np.savez(run.folder / "replicates.npz", **arrays)


@pytest.fixture
def plan(tmp_path):
    """Runs that have left reports, curves and replicates; tau=0.2 lacks its last seed."""
    rng = np.random.default_rng(0)
    people = rng.normal(size=200)  # what a resample of identities does to every model alike
    runs = {}
    for number, variant in enumerate(("0.1", "0.2", "all_1")):
        for seed in (1, 2, 3):
            run = grids.Run("", (), variant, seed, tmp_path / variant / str(seed))
            runs["tau", variant, seed] = run
            run.write_record()
            if (variant, seed) == ("0.2", 3):
                continue
            auc, accuracy = 0.7 + 0.05 * number + 0.01 * rng.normal(size=2)
            report = {
                "num_identities": 9,
                "verification": {"U": {"auc": auc, "num_positives": 3}, "G": None},
                "matching": {"V-F": {"U": {"2": {"accuracy": accuracy, "num_probes": 7}}}},
                "reasons": {"verification/G": "no metadata"},
            }
            (run.folder / "report.json").write_text(json.dumps(report))
            draws = auc + 0.03 * people + 0.004 * rng.normal(size=200)
            draws[5] = np.nan
            save_replicates(run, draws)
            steps = pd.DataFrame({"step": range(1, 5), "epoch": [1, 1, 2, 2]})
            curves = [
                steps.assign(name=name, value=steps.step / 10 + seed)
                for name in (
                    *("agreement_q8", "valid_agreement_q8", "valid_agreement_q8_shuffled"),
                    *("L_id", "valid_auc_U"),
                )
            ]
            pd.concat(curves).to_csv(run.folder / "train_curves.csv", index=False)
    return runs


def test_the_table_equals_loops_over_seeds_and_resamples(plan):
    table = results.collect(plan, {"tau": "0.1"})
    assert tuple(table.columns) == results.COLUMNS
    assert set(table.metric) == {
        "verification/U/auc",
        "matching/V-F/U/2/accuracy",
        "agreement/train/8",
        "agreement/valid/8",
        "agreement/shuffled/8",
    }
    auc = table[table.metric == "verification/U/auc"]
    draws, values = {}, {}
    for (_, variant, seed), run in plan.items():
        if run.is_done:
            values[variant, seed] = json.loads((run.folder / "report.json").read_text())
            values[variant, seed] = values[variant, seed]["verification"]["U"]["auc"]
            draws[variant, seed] = np.load(run.folder / "replicates.npz")["verification/U/auc"]
    for row in auc[auc.seed.notna()].itertuples():
        assert row.value == values[row.variant, row.seed]
        ends = reference.interval_of_mean([row.value], [draws[row.variant, row.seed]])
        assert (row.low, row.high) == pytest.approx(ends)
    means = auc[auc.seed.isna()].set_index("variant")
    for variant, seeds in (("0.1", (1, 2, 3)), ("0.2", (1, 2)), ("all_1", (1, 2, 3))):
        row, own = means.loc[variant], [values[variant, seed] for seed in seeds]
        assert row.num_seeds == len(seeds)
        assert row.value == pytest.approx(reference.mean(own))
        assert row["std"] == pytest.approx(reference.standard_deviation(own))
        own_draws = [draws[variant, seed] for seed in seeds]
        assert (row.low, row.high) == pytest.approx(reference.interval_of_mean(own, own_draws))
        if variant == "0.1":
            assert pd.isna(row.difference)
            continue
        others = [values["0.1", seed] for seed in seeds]
        assert row.difference == pytest.approx(reference.mean(own) - reference.mean(others))
        ends = reference.interval_of_difference(
            own, others, own_draws, [draws["0.1", seed] for seed in seeds]
        )
        assert (row.difference_low, row.difference_high) == pytest.approx(ends)
        assert row.difference_high - row.difference_low < 0.3 * (row.high - row.low)  # paired
    accuracy = table[table.metric.str.startswith("matching")]
    assert accuracy.low.isna().all() and accuracy.value.notna().all()


def test_runs_tested_on_other_people_have_no_common_interval(plan):
    """Resamples of other identities do not pair."""
    other = plan["tau", "0.1", 2]
    draws = np.load(other.folder / "replicates.npz")["verification/U/auc"]
    save_replicates(other, draws, identities=("ann", "eve"))
    table = results.collect(plan, {"tau": "0.1"})
    auc = table[table.metric == "verification/U/auc"]
    assert auc[auc.seed.notna()].low.notna().all()
    means = auc[auc.seed.isna()].set_index("variant")
    assert means.low.isna().tolist() == [True, False, False]
    assert means.difference_low.isna().all() and means.difference["0.2"] > 0


def test_agreement_is_kept_by_epoch(plan):
    table = results.collect(plan, {"tau": "0.1"})
    rows = table[(table.metric == "agreement/valid/8") & (table.variant == "all_1")]
    assert rows[rows.seed == 2].value.tolist() == pytest.approx([2.15, 2.35])
    means = rows[rows.seed.isna()]
    assert means.epoch.tolist() == [1, 2]
    assert means.value.tolist() == pytest.approx([2.15, 2.35])


def test_the_tables_show_mean_deviation_interval_and_difference(plan, tmp_path):
    table = results.collect(plan, {"tau": "0.1"})
    missing = [name for name, run in plan.items() if not run.is_done]
    assert missing == [("tau", "0.2", 3)]
    content = {"tau": {"title": "temperature of L_Bi-P in %"}, "none": {}}
    sheets = tables.build(table, content, {"tau": "0.1", "none": "0.1"})
    text = tables.introduction(table, ["tau/0.2/3"])
    assert text.endswith("Not done: tau/0.2/3\n") and "replicates.npz" not in text
    write_sheets(tmp_path, sheets, introduction=text)
    text = (tmp_path / "table.md").read_text()
    row = table[table.seed.isna() & (table.metric == "verification/U/auc")].iloc[1]
    cell = f"{100 * row.value:.1f} ± {100 * row['std']:.1f} [{100 * row.low:.1f}, "
    assert f"| 0.2 | 2 | {cell}{100 * row.high:.1f}]* | " in text
    assert f"| 0.2 | 2 | {100 * row.difference:+.1f} [{100 * row.difference_low:+.1f}, " in text
    assert "## Temperature of L_Bi-P in %\n" in text
    assert "| variant | seeds | AUC U | 1:2 V-F U |" in text
    values, differences = tabulars(tmp_path / "table.tex")
    assert [cells[0] for cells in values] == ["variant", "0.1", "0.2", "all 1"]
    assert [cells[0] for cells in differences] == ["variant", "0.2", "all 1"]
    assert values[2][2] == f"${cell}{100 * row.high:.1f}]^*$".replace("±", r"\pm")
    for run in plan.values():
        (run.folder / "replicates.npz").unlink(missing_ok=True)
    bare = results.collect(plan, {"tau": "0.1"})
    assert bare.low.isna().all() and bare.difference_high.isna().all()
    assert "No run has a replicates.npz" in tables.introduction(bare)


@pytest.mark.parametrize("name", ["auc", "eer"])
def test_the_best_is_marked_with_what_the_paired_test_does_not_tell_from_it(plan, name):
    """One variant is far from the best, one within the noise of its draws."""
    metric, sign = f"verification/U/{name}", 1 if name == "auc" else -1
    values, rng = {"0.1": 0.3, "0.2": 0.4999, "all_1": 0.5}, np.random.default_rng(1)
    for (_, variant, _), run in plan.items():
        if run.is_done:
            value = 0.5 + sign * (values[variant] - 0.5)
            report = {"verification": {"U": {name: value}}}
            (run.folder / "report.json").write_text(json.dumps(report))
            draws = {metric: value + 0.002 * rng.normal(size=200)}
            np.savez(run.folder / "replicates", identities=["a"], seed=0, **draws)
    table = results.collect(plan, {"tau": "0.1"})
    means = table[table.seed.isna() & (table.metric == metric)].set_index("variant")
    assert means.best.to_dict() == {"0.1": False, "0.2": True, "all_1": True}
    assert table[table.seed.notna() | table.metric.str.startswith("agreement")].best.isna().all()
    for (_, variant, _), run in plan.items():  # equals, without draws
        if run.is_done:
            report = {"verification": {"U": {name: 0.5 if variant == "0.1" else 0.5 + sign / 4}}}
            (run.folder / "report.json").write_text(json.dumps(report))
            (run.folder / "replicates.npz").unlink()
    means = results.collect(plan, {"tau": "0.1"}).query("seed.isna() and metric == @metric")
    assert means.best.tolist() == [False, True, True]


def test_figures_show_the_table(plan, tmp_path):
    results.collect(plan, {"tau": "0.1"}).to_csv(tmp_path / "table.csv", index=False)
    content = {"tau": {"figures": list(figures.FIGURES), "xlabel": "tau"}, "none": {"figures": []}}
    paths = figures.plot_ablations(tmp_path / "table.csv", content, tmp_path / "figures")
    assert [path.name for path in paths] == [
        f"tau_{kind}.{ending}" for kind in figures.FIGURES for ending in ("png", "pdf")
    ]
    table = pd.read_csv(tmp_path / "table.csv")
    means = table[table.seed.isna() & (table.metric == "verification/U/auc")]
    bars = figures.bars_figure(table, content["tau"]).axes[0]
    tops = [container.patches[0] for container in bars.containers if hasattr(container, "patches")]
    tops = [bar.get_y() + bar.get_height() for bar in tops if bar.get_height()]
    assert tops == pytest.approx((100 * means.value).tolist())
    panel = figures.line_figure(table, content["tau"]).axes[0]
    assert panel.get_title() == "AUC U"
    unnamed, named = panel.lines[0], [line for line in panel.lines if list(line.get_xdata()) == [1]]
    assert list(unnamed.get_xdata()) == [0.1, 0.2] and named
    low, high = panel.collections[0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((100 * means.low.iloc[0], 100 * means.high.iloc[0]))
    panels = figures.agreement_figure(table, content["tau"]).axes
    assert [axes.get_title() for axes in panels] == ["0.1", "0.2", "all 1"]
    labels = [line.get_label() for line in panels[0].lines]
    assert labels == ["q = 8, training", "q = 8, held out", "q = 8, shuffled pairs"]
