"""Methods x seeds x folds: what is planned, chosen, pooled and laid out, from hand-made reports."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML

from speechbrain_fv.evaluation import sheets
from speechbrain_fv.experiments.ablations import grids
from speechbrain_fv.experiments.comparison import (
    figures,
    methods,
    tables,
    tuning,
    values,
    writing,
)
from speechbrain_fv.experiments.comparison.published import PUBLISHED
from speechbrain_fv.training import costs
from tests.paths import HPARAMS
from tests.references import ablations as reference
from tests.tables import tabulars

SHIPPED = YAML(typ="safe").load(HPARAMS / "comparison.yaml")
CONTENT = {
    "bipcm_fst": {"label": "FST", "tuning": {"b": "--lr=0.1"}},
    "ssnet": {},
    "svhf_vf": {"label": "SVHF", "hparams_file": "hparams/svhf.yaml"},
    "dimnet_ig": {"label": "IG & more_50%"},
    "ridge_cca": {"label": "CCA", "reason": "it takes vectors"},
}
AUC, G = "verification/U/auc", "verification/G/auc"
SEEDS, NUM_FOLDS = (4, 7), 3
BEST = {"bipcm_fst": "b"}  # of the first fold; elsewhere the candidates are equal


def report_of(method, candidate, fold, rng):
    """A report as a training leaves it; SVHF has 1:2 only."""
    auc = 0.6 + 0.05 * len(method) / 9 + 0.02 * fold + 0.01 * rng.normal()
    report = {
        "verification": {"U": {"auc": auc, "num_positives": 9}, "G": None},
        "matching": {
            "V-F": {"U": {str(n): {"accuracy": 1.2 / n} for n in (2, 3)}},
            "F-V": {"U": {"2": {"accuracy": 0.61}}},
        },
        "retrieval": {"F-V": {"map": 0.1, "chance_map": 0.05}, "V-F": None},
        "reasons": {"verification/G": "no gender", "retrieval/V-F": "no gallery"},
        "training": {"best_valid_auc": 0.7 + 0.1 * (candidate == "b" and not fold)},
    }
    if method == "svhf_vf":
        report["verification"] = {"U": None}
        report["reasons"]["verification"] = "it ranks two"
        report["training"] = {"monitor": "matching/V-F/U/2/eer", "best_valid": 0.4}
    return report


@pytest.fixture(params=[None, NUM_FOLDS])
def comparison(request, tmp_path):
    """A comparison of which DIMNet-IG has failed in the last fold, and nothing else is missing."""
    rng, num_folds = np.random.default_rng(0), request.param
    rows = methods.read_methods(CONTENT)
    plan = {}
    for method in rows:
        for fold in methods.folds_of(num_folds):
            people = rng.normal(size=100)
            for name in method.candidates:
                for seed in SEEDS:
                    grid = methods.grid_name(method.name, fold)
                    run = grids.Run("/".join((grid, name)), (), name, seed, tmp_path / grid / name)
                    run = grids.Run(run.name, (), name, seed, run.folder / str(seed))
                    plan[grid, name, seed] = run
                    run.write_record()
                    if method.name == "dimnet_ig" and fold in (None, NUM_FOLDS - 1):
                        (run.folder / "console.txt").write_text("...\nerror: no gender here\n")
                        continue
                    report = report_of(method.name, name, fold or 0, rng)
                    (run.folder / "report.json").write_text(json.dumps(report))
                    auc = (report["verification"]["U"] or {"auc": 0.0})["auc"]
                    draws = auc + 0.03 * people + 0.004 * rng.normal(size=100)
                    names = np.array([f"p{fold}{number}" for number in range(9)])
                    np.savez(run.folder / "replicates", identities=names, seed=0, **{AUC: draws})
                    cost = {"model_parameters": 1000, "loss_parameters": 5, "seconds": 2.0}
                    cost |= {"device": "cpu"}
                    (run.folder / "cost.json").write_text(json.dumps(cost))
                    (run.folder / "train_curves.csv").write_text("step,epoch,name,value\n1,1,x,1\n")
    hparams = {"output_folder": str(tmp_path), "num_folds": num_folds, "seeds": list(SEEDS)}
    return hparams, rows, plan


def written(comparison):
    """The table, the tuning and the texts of a comparison."""
    hparams, rows, plan = comparison
    chosen, tuned = tuning.choose(rows, plan, SEEDS[0], hparams["num_folds"])
    runs = values.chosen_runs(plan, chosen, SEEDS)
    writing.write_all(hparams, rows, "bipcm_fst", runs, plan, tuned)
    table = values.collect(runs, "bipcm_fst", hparams["num_folds"])
    return table, chosen, runs


def test_each_fold_chooses_by_its_validation_people(comparison):
    hparams, rows, plan = comparison
    chosen, table = tuning.choose(rows, plan, SEEDS[0], hparams["num_folds"])
    folds = methods.folds_of(hparams["num_folds"])
    assert [chosen["bipcm_fst", fold] for fold in folds] == ["b", *["shipped"] * (len(folds) - 1)]
    assert ("dimnet_ig", folds[-1]) not in chosen and "ridge_cca" not in set(table.method)
    best = table[table.chosen]
    assert len(best) == len(chosen)
    row = best[best.method == "svhf_vf"].iloc[0]
    assert (row.monitor, row.validation, row.arguments) == ("matching/V-F/U/2/eer", 0.4, "")


def test_where_less_is_better_the_least_is_chosen(comparison):
    hparams, rows, plan = comparison
    (method,) = (row for row in rows if row.name == "bipcm_fst")
    for (grid, name, _), run in plan.items():
        if grid.startswith("bipcm_fst"):
            training = {"monitor": "verification/U/eer", "best_valid": 0.3 + 0.1 * (name == "b")}
            (run.folder / "report.json").write_text(json.dumps({"training": training}))
    chosen, _ = tuning.choose([method], plan, SEEDS[0], hparams["num_folds"])
    assert set(chosen.values()) == {"shipped"}


def test_the_table_equals_loops_over_folds_seeds_and_resamples(comparison):
    num_folds = comparison[0]["num_folds"]
    table, _, runs = written(comparison)
    grids_of = ["all"] if num_folds is None else [f"fold_{fold}" for fold in range(num_folds)]
    auc, draws = {}, {}
    for method in ("bipcm_fst", "ssnet"):
        for seed in SEEDS:
            own = [runs[grid, method, seed].folder for grid in grids_of]
            reports = [json.loads((folder / "report.json").read_text()) for folder in own]
            auc[method, seed] = reference.mean([r["verification"]["U"]["auc"] for r in reports])
            parts = [np.load(folder / "replicates.npz")[AUC] for folder in own]
            if num_folds:
                parts = [np.random.default_rng(i).permutation(p) for i, p in enumerate(parts)]
            draws[method, seed] = [
                reference.mean(list(drawn)) for drawn in zip(*parts, strict=True)
            ]
    rows = table[(table.grid == "all") & (table.metric == AUC)]
    means = rows[rows.seed.isna()].set_index("variant")
    assert set(means.index) == {"bipcm_fst", "ssnet"}
    for method in ("bipcm_fst", "ssnet"):
        own = [auc[method, seed] for seed in SEEDS]
        own_draws = [draws[method, seed] for seed in SEEDS]
        row = means.loc[method]
        assert row.value == pytest.approx(reference.mean(own))
        assert row["std"] == pytest.approx(reference.standard_deviation(own))
        assert (row.low, row.high) == pytest.approx(reference.interval_of_mean(own, own_draws))
    ends = reference.interval_of_difference(
        *([auc[method, seed] for seed in SEEDS] for method in ("ssnet", "bipcm_fst")),
        *([draws[method, seed] for seed in SEEDS] for method in ("ssnet", "bipcm_fst")),
    )
    assert (row.difference_low, row.difference_high) == pytest.approx(ends)
    assert row.difference == pytest.approx(
        reference.mean(own) - reference.mean([auc["bipcm_fst", seed] for seed in SEEDS])
    )


def test_what_a_method_cannot_do_is_a_dash_with_its_reason(comparison):
    hparams, *_ = comparison
    written(comparison)
    text = (Path(hparams["output_folder"]) / "table.md").read_text()
    first = text.split("## ")[1]
    tabulars(Path(hparams["output_folder"]) / "table.tex")
    assert "| SVHF | 2 | - | - |" in first and "| CCA | 0 | - | - |" in first
    assert "-: SVHF (U, N, A, GNA): it ranks two" in first and "-: CCA: it takes vectors" in first
    assert "FST, ssnet, SVHF" in first and "(G): no gender" in first
    folds = hparams["num_folds"]
    failed = "| IG & more_50% | 0 | -" in first and "-: IG & more_50%: no gender here" in first
    assert failed != bool(folds)
    if folds:  # two of three folds are no mean
        assert "| IG & more_50% | 0 | - |" in first
        assert "-: IG & more_50% (U, N, A, GNA): no gender here" in first
        (section,) = (part for part in text.split("## ") if part.startswith("AUC U by fold"))
        assert section.splitlines()[2] == ("| method | fold 0 | fold 1 | fold 2 | mean | - FST |")
        (line,) = (line for line in section.splitlines() if line.startswith("| IG"))
        assert line.endswith("| - | - | - |") and line.count("| - ") == 3
    assert f"shipped/{SEEDS[0]}" not in text or "no gender here" in text


def test_published_figures_have_columns_and_notes_of_their_own(comparison):
    hparams, rows, _ = comparison
    table, *_ = written(comparison)
    first = tables.build(table, rows, "bipcm_fst", {}, {})[0]
    assert [column for column in first.head if column.startswith("published")] == [
        *(f"published {stratum}" for stratum in ("U", "G", "N", "A", "GNA")),
        "published on",
    ]
    ssnet = dict(zip(first.head, first.rows[1], strict=True))
    assert ssnet["published U"] == ("78.8", None) and ssnet["published N"].text == "53.1"
    notes = {ssnet[f"published {stratum}"].note for stratum in ("N", "GNA")}
    (number,) = notes
    assert f"({number}) not to be trusted" in " ".join(first.notes)
    assert "901/100/250" in " ".join(first.notes)
    csv = pd.read_csv(Path(hparams["output_folder"]) / "comparison.csv")
    printed = csv[csv.published_percent.notna()].set_index(["method", "metric"])
    assert printed.published_percent["bipcm_fst", AUC] == 85.0
    assert (printed.fold == "all").all() and printed.seed.isna().all()
    assert len(printed) == len(printed.index.unique())


def test_latex_has_every_cell_and_no_open_character(comparison):
    hparams, *_ = comparison
    written(comparison)
    text = (Path(hparams["output_folder"]) / "table.tex").read_text()
    first, text = text.split("\n", 1)
    assert first == sheets.PREAMBLE
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") > 7
    assert r"IG \& more\_50\%" in text and "±" not in text
    for block in text.split(r"\begin{tabular}{")[1:]:
        width = len(block.split("}")[0])
        body = block.split(r"\bottomrule")[0].splitlines()[1:]
        lines = [line for line in body if line.endswith(r"\\")]
        assert len(lines) > 1
        assert {line.replace(r"\&", "").count("&") + 1 for line in lines} == {width}
    outside = text.replace(r"\%", "").replace(r"\_", "").replace(r"\linewidth}{!}{%", "")
    assert "%" not in outside and outside.count("{") == outside.count("}")


@pytest.mark.parametrize("comparison", [None], indirect=True)
def test_runs_of_other_files_are_told(comparison, capsys):
    *_, plan = comparison
    for (method, _, seed), run in plan.items():
        (run.folder / "save").mkdir()
        clips = "new" if (method, seed) == ("ssnet", SEEDS[1]) else "old"
        record = {"settings": {"corpus.seed": "0", "lr": str(seed)}, "clips": clips}
        (run.folder / "save" / "record.json").write_text(json.dumps(record))
    *_, runs = written(comparison)
    assert values.of_other_files(runs) == ["ssnet/shipped"]
    assert "and ssnet/shipped had others" in capsys.readouterr().out


def test_costs_and_curves(comparison):
    hparams, rows, _ = comparison
    table, _, runs = written(comparison)
    sheet = tables.cost_sheet(values.costs(runs), rows)
    assert sheet.rows[0] == ["FST", "1,000", "5", "2.0", "cpu"] and sheet.rows[-1][1:] == [None] * 4
    figure = figures.matching_figure(table, {"bipcm_fst": "FST", "ssnet": "SSNet"}, "bipcm_fst")
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    assert lines["FST"].get_xdata().tolist() == [2, 3]
    assert lines["FST"].get_ydata().tolist() == pytest.approx([60, 40])
    assert (Path(hparams["output_folder"]) / "figures" / "fig3_matching.pdf").stat().st_size


def test_many_lines_look_different():
    looks = [figures._look(number) for number in range(30)]
    assert len({(look["color"], str(look["linestyle"])) for look in looks}) == 30


def test_shipped_methods_can_be_told_to_train_in_folds():
    rows = methods.read_methods(SHIPPED["methods"], SHIPPED["base"], SHIPPED["tuning"])
    assert {row.published for row in rows} >= set(PUBLISHED)
    assert {len(row.candidates) for row in rows} == {0, 5}  # as many for each; ridge CCA has none
    some = [row for row in rows if row.name in ("bipcm_fst", "lafv_fv")]
    variants = methods.expand_methods(some, 2)
    assert len({variant.key for variant in variants}) == len(variants) == 2 * 2 * 5
    assert variants[5].grid == "bipcm_fst/fold_1"
    assert variants[5].arguments[-1] == "--corpus={fold: 1, num_folds: 2}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"content": {}}, "methods: expected name"),
        ({"content": {"a": {"colour": 1}}}, "method a: expected keys among label"),
        ({"content": {"a": {"tuning": {"b/c": []}}}}, "method a: 'b/c' names a folder"),
        ({"content": {"a": {"arguments": "lr=1"}}}, "method a: expected arguments such as"),
        ({"content": {"a": {"tuning": {"b": "--seed=1"}}}}, "method a: --seed is set for every"),
        (
            {"content": CONTENT, "only": "ssnet,snet"},
            "only: no method 'snet'; did you mean 'ssnet'",
        ),
    ],
)
def test_wrong_methods_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        methods.read_methods(**options)


def test_wrong_overrides_folds_and_references_are_refused():
    (row,) = methods.read_methods({"ssnet": {"tuning": {"x": "--marginn=1"}}})
    with pytest.raises(ValueError, match="method ssnet, x: .*marginn"):
        methods.expand_methods([row])
    with pytest.raises(ValueError, match="num_folds: expected a number of 2 or more, got 1"):
        methods.expand_methods([row], 1)
    with pytest.raises(ValueError, match="reference: 'a' is none of ssnet; take it in"):
        methods.reference_of([row], "a")
    later = methods.read_methods({"cca": {"reason": "it takes vectors"}, "infonce": {}})
    assert methods.reference_of(later) == "infonce"


@pytest.mark.parametrize("corpus", ["{}", "{ }", "{seed: 1,}", "!include:corpora/own_data.yaml"])
def test_a_fold_joins_what_the_corpus_has(corpus):
    (argument,) = methods.with_fold([f"--corpus={corpus}"], 2, 4)
    node = YAML().load(argument.removeprefix("--corpus="))
    assert dict(node) == {**({"seed": 1} if "seed" in corpus else {}), "fold": 2, "num_folds": 4}


def test_a_method_may_leave_out_a_common_candidate():
    common = {"shipped": [], "slow": "--lr=1"}
    content = {"a": {"tuning": {"slow": False, "own": "--k=1"}}, "b": None}
    rows = methods.read_methods(content, (), common)
    assert [list(row.candidates) for row in rows] == [["shipped", "own"], ["shipped", "slow"]]
    rows = methods.read_methods(content, (), common, only=["b"], tune=False)
    assert [list(row.candidates) for row in rows] == [["shipped"]]


class Clock:
    """Seconds that pass as told."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


def test_the_time_of_all_starts_is_added_up(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(costs, "time", clock)
    modules = {name: torch.nn.Linear(3, 2) for name in (*costs.MODEL, "objective")}
    modules["cmwr"].bias.requires_grad_(False)
    checkpoints = []
    brain = SimpleNamespace(
        modules=torch.nn.ModuleDict(modules),
        device="cpu",
        checkpointer=SimpleNamespace(list_checkpoints=lambda: checkpoints),
    )

    def train(seconds, error=None):
        with costs.measured(brain, tmp_path):
            clock.now += seconds
            if error:
                raise error
        return json.loads((tmp_path / "cost.json").read_text())

    with pytest.raises(KeyboardInterrupt):
        train(3, KeyboardInterrupt)
    assert train(4)["seconds"] == 4  # nothing was kept of the first start
    checkpoints.append("CKPT")
    assert train(5) == {
        "model_parameters": 8 + 8 + 6,
        "loss_parameters": 8,
        "seconds": 9,
        "device": "cpu",
    }
