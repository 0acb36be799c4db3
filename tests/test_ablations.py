"""Grids of overrides x seeds: planned, run, stopped, resumed, tabulated, drawn."""

import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML

from speechbrain_fv.ablations import figures, grids, results, schedule
from speechbrain_fv.cli import load_hparams
from tests.paths import HPARAMS, ROOT
from tests.references import ablations as reference

BIPCM = str(HPARAMS / "bipcm_fst.yaml")
SHIPPED = YAML(typ="safe").load(HPARAMS / "ablations.yaml")["ablations"]
VECTORS = ["--face=!include:face/embedding.yaml", "--voice=!include:voice/embedding.yaml"]

# A training in short: counts its starts, takes its time, fails when told to, leaves a report.
SCRIPT = """
import os, sys, time
from pathlib import Path
options = dict(argument[2:].split("=") for argument in sys.argv[2:] if "=" in argument)
folder = Path(options["output_folder"])
with open(folder / "starts.txt", "a") as file:
    print(options["device"], os.environ["OMP_NUM_THREADS"], time.monotonic(), file=file)
time.sleep(float(options.get("prepare", 0)))
(folder / "manifests").mkdir(exist_ok=True)
(folder / "manifests" / "preparation.json").write_text("{}")
time.sleep(float(options.get("train", 0)))
if "fail" in options:
    sys.exit("error: " + options["fail"])
if "killed" in options:
    os.kill(os.getpid(), 9)
(folder / "report.json").write_text("{}")
(folder / "ended.txt").write_text(str(time.monotonic()))
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def make_run(folder, name, *options):
    return grids.Run(name, ("some.yaml", *options), f"key of {options}", 1, folder / name)


def starts(run):
    return (run.folder / "starts.txt").read_text().splitlines()


# --- what is to be run


def test_equal_settings_have_one_key_however_they_are_written():
    def key(*options):
        return grids.settings_key((BIPCM, *options))

    plain = key()
    assert key("--num_clusters=[8,32, 64]") == key("--discriminator={temperature: 0.1}") == plain
    phi = "--discriminator=!new:speechbrain_fv.losses.PrototypeDiscriminator {temperature: 0.1}"
    assert key(phi) == plain
    others = [key("--gamma1=1.0"), key("--num_clusters=[8]"), key("--precision=bf16")]
    assert len({plain, *others}) == 4


def test_an_edited_yaml_is_another_run_but_a_comment_is_not(tmp_path):
    text = (HPARAMS / "bipcm_fst.yaml").read_text().replace("!include:", f"!include:{HPARAMS}/")
    path = tmp_path / "method.yaml"
    keys = []
    for content in (text, text + "# a comment\n", text.replace("gamma2: 0.1", "gamma2: 0.2")):
        path.write_text(content)
        keys.append(grids.settings_key((str(path),)))
    assert keys[0] == keys[1] != keys[2]


def test_shipped_grids_share_their_common_runs(tmp_path):
    names = grids.select_grids(SHIPPED)
    variants = grids.expand_grids(SHIPPED, BIPCM, VECTORS)
    plan = grids.plan_runs(variants, [1, 2], tmp_path, names)
    assert len(plan) == 2 * len(variants)
    whole = {
        plan[cell].name
        for cell in (
            ("table4", "all", 1),
            ("fig4", "all", 1),
            ("clusters", "FST", 1),
            ("reading", "prototype", 1),
            ("tau", "0.1", 1),
            ("gamma1", "10", 1),
            ("gamma2", "0.1", 1),
            ("fig8", "all_0", 1),
        )
    }
    assert whole == {"table4/all/1"}
    assert len({run.name for run in plan.values()}) == 2 * (len(variants) - 7 - 1)  # and no_BiP_0
    assert plan["fig8", "no_BiP_0", 2] is plan["fig4", "no_BiP", 2]


@pytest.mark.parametrize("grid", ["table4", "fig4", "reading"])
def test_shipped_variants_train_a_step(grid, tmp_path):
    for name, own in SHIPPED[grid]["variants"].items():
        arguments = grids.merge_arguments(VECTORS, [own] if isinstance(own, str) else own)
        argv = [BIPCM, *arguments, f"--output_folder={tmp_path}", "--num_clusters=[4, 8]"]
        _, hparams, _ = load_hparams(argv)
        modules = hparams["modules"]
        modules["objective"].set_classes({"identity": 8})
        face, voice = modules["face_encoder"](torch.randn(16, 128)), torch.randn(16, 256)
        voice = modules["voice_encoder"](voice, torch.ones(16))
        refined = modules["cmwr"](torch.cat([face, voice])).chunk(2)
        targets = {"identity": torch.arange(16) % 8}
        terms, _ = modules["objective"](*refined, targets, torch.Generator())
        hparams["loss_weights"](terms, 10**6).backward()
        weights = hparams["loss_weights"].at(10**6)
        without = {"no_cma": "L_cma", "no_BiP": "L_BiP", "no_KL": "L_KL", "no_id": "L_id"}
        zero = {without[name]} if name in without else set()
        if name in ("id", "CMWR_id"):
            zero = {"L_cma", "L_BiP", "L_KL"}
        assert {term for term, weight in weights.items() if not weight} == zero
        has_block = isinstance(modules["cmwr"], torch.nn.Identity) == name.startswith("id")
        assert has_block


def test_a_run_started_for_another_grid_is_used_and_others_are_refused(tmp_path):
    content = {
        "first": {"variants": {"a": "--gamma1=2.0"}},
        "second": {"variants": {"b": "--gamma1=2.0", "c": "--gamma1=3.0"}},
    }
    variants = grids.expand_grids(content, BIPCM)
    plan = grids.plan_runs(variants, 5, tmp_path, ["second"])
    assert plan["second", "b", 5].folder == tmp_path / "second" / "b" / "5"
    plan["second", "b", 5].write_record()
    plan = grids.plan_runs(variants, 5, tmp_path, ["first"])
    assert plan["first", "a", 5].folder == tmp_path / "second" / "b" / "5"
    changed = grids.expand_grids(content, BIPCM, ["--lr=0.1"])
    with pytest.raises(ValueError, match=r"second/b/5: made with other settings .*--gamma1=2.0"):
        grids.plan_runs(changed, [5], tmp_path, ["second"])
    (tmp_path / "second" / "c" / "5").mkdir(parents=True)
    (tmp_path / "second" / "c" / "5" / "hyperparams.yaml").write_text("of a run by hand")
    with pytest.raises(ValueError, match=r"made with other settings \(unknown"):
        grids.plan_runs(variants, [5], tmp_path, ["second"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--no_such_key=1", "grid tau, variant x: .*no_such_key"),
        (["gamma1=3"], "expected arguments such as '--lr=0.001', got 'gamma1=3'"),
        ("--seed=3", "--seed is set for every run"),
        ("--face=!include:face/nothing.yaml", "face/nothing.yaml"),
    ],
)
def test_wrong_overrides_name_grid_and_variant(options, message):
    with pytest.raises((ValueError, OSError), match=message):
        grids.expand_grids({"tau": {"variants": {"x": options}}}, BIPCM)


@pytest.mark.parametrize(
    ("content", "names", "message"),
    [
        ({"variants": {"a": []}}, "tau,phi", r"grids: expected some of tau, got \['phi'\]"),
        ({"variants": {}}, None, "grid tau: expected variants"),
        (
            {"variants": {"a": []}, "colour": 1},
            None,
            r"grid tau: expected keys .* got \['colour'\]",
        ),
        ({"variants": {"a/b": []}}, None, "grid tau: 'a/b' names a folder"),
        ({"variants": {"a": []}, "reference": "b"}, None, "reference 'b' is none of"),
        ({"variants": {"a": []}, "figures": ["pie"]}, None, r"expected figures among .*'pie'"),
    ],
)
def test_wrong_grids_are_refused(content, names, message):
    with pytest.raises(ValueError, match=message):
        grids.select_grids({"tau": content}, names)


@pytest.mark.parametrize("seeds", [[], [1, 1], ["a"], [-1], None])
def test_wrong_seeds_are_refused(seeds, tmp_path):
    with pytest.raises(ValueError, match="seeds: expected distinct numbers"):
        grids.plan_runs([], seeds, tmp_path, [])


@pytest.mark.parametrize(("devices", "jobs"), [([], 1), (["cpu"], 0), ("cpu", 1.5)])
def test_wrong_slots_are_refused(devices, jobs):
    with pytest.raises(ValueError, match="devices: expected|jobs: expected"):
        schedule.check_slots(devices, jobs)


# --- running


def test_runs_go_on_side_by_side_once_the_first_is_prepared(script, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    runs = [make_run(tmp_path, name, "--prepare=0.3", "--train=1") for name in "abc"]
    seen = []
    slots = schedule.check_slots(["cpu", "other"], 1)
    failures = schedule.run_all(runs, script, slots, lambda *state: seen.append(state))
    assert failures == {} and all(run.is_done for run in runs)
    fields = [starts(run)[0].split() for run in runs]
    assert {device for device, _, _ in fields[:2]} == {"cpu", "other"}
    assert {int(threads) for _, threads, _ in fields} == {max(1, os.cpu_count() // 2)}
    begin = [float(moment) for _, _, moment in fields]
    end = [float((run.folder / "ended.txt").read_text()) for run in runs]
    assert begin[0] + 0.3 <= begin[1] < end[0]  # after its preparation, before its end
    assert begin[2] >= min(end[:2])
    assert seen[0] == (0, ("a",)) and seen[-1] == (3, ())


def test_failures_are_told_and_only_they_are_repeated(script, tmp_path):
    options = {"good": [], "bad": ["--fail=no such thing"], "dead": ["--killed=1"], "last": []}
    runs = [make_run(tmp_path, name, *own) for name, own in options.items()]
    for _ in range(2):
        assert schedule.run_all(runs, script, ["cpu"]) == {
            "bad": "exit code 1: error: no such thing",
            "dead": "killed by SIGKILL (out of memory?): ",
        }
    assert [len(starts(run)) for run in runs] == [1, 2, 2, 1]


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


@pytest.fixture
def interruptible():
    """A suite started in the background ignores interrupts, and its children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_stopped_runs_are_killed_or_waited_for_and_nothing_runs_twice(
    script, tmp_path, stop, interruptible
):
    """An interrupt takes the children along. Killed outright it cannot: they go on, and hold a lock
    that keeps the next command from starting the same runs beside them."""
    runs = [make_run(tmp_path, name, "--train=1.5") for name in "abc"]
    context = multiprocessing.get_context("fork")
    command = context.Process(target=schedule.run_all, args=(runs, script, ["cpu"] * 2))
    command.start()
    wait_for(lambda: all((run.folder / "starts.txt").exists() for run in runs[:2]))
    os.kill(command.pid, stop)
    command.join()
    assert not any(run.is_done for run in runs)
    assert schedule.run_all(runs, script, ["cpu"] * 2) == {}
    assert all(run.is_done for run in runs)
    expected = [2, 2, 1] if stop == signal.SIGINT else [1, 1, 1]
    assert [len(starts(run)) for run in runs] == expected


# --- results


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
                for name in ("agreement_q8", "valid_agreement_q8", "L_id", "valid_auc_U")
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
        ends = reference.interval_of_mean([draws[row.variant, row.seed]])
        assert (row.low, row.high) == pytest.approx(ends)
    means = auc[auc.seed.isna()].set_index("variant")
    for variant, seeds in (("0.1", (1, 2, 3)), ("0.2", (1, 2)), ("all_1", (1, 2, 3))):
        row, own = means.loc[variant], [values[variant, seed] for seed in seeds]
        assert row.num_seeds == len(seeds)
        assert row.value == pytest.approx(reference.mean(own))
        assert row["std"] == pytest.approx(reference.standard_deviation(own))
        own_draws = [draws[variant, seed] for seed in seeds]
        assert (row.low, row.high) == pytest.approx(reference.interval_of_mean(own_draws))
        if variant == "0.1":
            assert pd.isna(row.difference)
            continue
        others = [values["0.1", seed] for seed in seeds]
        assert row.difference == pytest.approx(reference.mean(own) - reference.mean(others))
        ends = reference.interval_of_difference(own_draws, [draws["0.1", seed] for seed in seeds])
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


def test_the_text_shows_mean_deviation_interval_and_difference(plan):
    table = results.collect(plan, {"tau": "0.1"})
    missing = [name for name, run in plan.items() if not run.is_done]
    content = {"tau": {"title": "temperature"}}
    text = results.format_markdown(table, content, {"tau": "0.1"}, map("/".join, [["tau", "0.2"]]))
    assert missing == [("tau", "0.2", 3)] and text.endswith("Not done: tau/0.2\n")
    row = table[table.seed.isna() & (table.metric == "verification/U/auc")].iloc[1]
    cell = f"{100 * row.value:.2f} ± {100 * row['std']:.2f} [{100 * row.low:.2f}, "
    assert f"| 0.2 | 2 | {cell}{100 * row.high:.2f}] | " in text
    assert f"| 0.2 | 2 | {100 * row.difference:+.2f} [{100 * row.difference_low:+.2f}, " in text
    assert "## tau: temperature" in text and "| variant | seeds | AUC U | 1:2 V-F U |" in text
    assert "replicates.npz" not in text
    for run in plan.values():
        (run.folder / "replicates.npz").unlink(missing_ok=True)
    bare = results.collect(plan, {"tau": "0.1"})
    assert bare.low.isna().all() and bare.difference_high.isna().all()
    assert "No run has a replicates.npz" in results.format_markdown(bare, content, {"tau": "0.1"})


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
    assert labels == ["q = 8, training", "q = 8, held out", "q = 8, chance 1/q"]


def test_figures_load_no_torch():
    code = "import sys, speechbrain_fv.ablations.figures; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


# --- the command


def write_ablation(folder):
    """Vectors of people, and a YAML of two variants of a method on them; returns its path."""
    rng = np.random.default_rng(0)
    names = np.repeat([f"p{number:02}" for number in range(60)], 2)
    shared = np.repeat(rng.normal(size=(60, 8)), 2, axis=0)
    views = [(shared + 0.5 * rng.normal(size=shared.shape)).astype("f") for _ in range(2)]
    clips = [f"c{number}" for number in range(len(names))]
    np.savez(folder / "vectors.npz", clip=clips, f=views[0], v=views[1])
    table = pd.DataFrame({"clip": clips, "identity": names})
    table.to_csv(folder / "clips.csv", index=False)
    corpus = f"{{clips_csv: {folder}/clips.csv, embeddings: {folder}/vectors.npz, "
    content = YAML(typ="safe").load(HPARAMS / "ablations.yaml") | {
        "hparams_file": BIPCM,
        "output_folder": str(folder / "out"),
        "seeds": [1, 2],
        "jobs": 2,
        "base": [
            f"--corpus=!include:corpora/embeddings.yaml {corpus}face_key: f, voice_key: v}}",
            *(f"{option} {{input_dim: 8}}" for option in VECTORS),
            "--num_clusters=[4, 16]",
            "--batch_size=32",
            "--steps_per_epoch=20",
            "--number_of_epochs=4",
            "--draw_figures=False",
        ],
        "ablations": {
            "parts": {
                "reference": "all",
                "figures": ["bars", "agreement"],
                "variants": {"id": SHIPPED["table4"]["variants"]["id"], "all": []},
            },
            "broken": {"variants": {"bad": "--num_clusters=[64]"}},
        },
    }
    with (folder / "ablations.yaml").open("w") as file:
        YAML(typ="safe").dump(content, file)
    return folder / "ablations.yaml"


@pytest.fixture
def ablate():
    """The command's main function; the handler that it sets is taken back."""
    handler = signal.getsignal(signal.SIGTERM)
    yield runpy.run_path(str(ROOT / "recipes" / "ablate.py"))["main"]
    signal.signal(signal.SIGTERM, handler)


def test_a_grid_is_stopped_resumed_and_tabulated(
    tmp_path, ablate, capsys, monkeypatch, interruptible
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yaml, out = write_ablation(tmp_path), tmp_path / "out"
    command = [sys.executable, str(ROOT / "recipes" / "ablate.py"), str(yaml), "--grids=parts"]
    first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(out.glob("parts/*/*/save/CKPT*/*.ckpt")) or first.poll(), 300)
    first.send_signal(signal.SIGINT)
    _, errors = first.communicate()
    assert first.returncode == 130 and "the same command goes on from here" in errors
    assert not list(out.rglob("report.json"))

    ablate([str(yaml), "--grids=parts"])
    assert f"Table, text and figures: {out}" in capsys.readouterr().out
    reports = {path: path.stat().st_mtime_ns for path in out.rglob("report.json")}
    assert len(reports) == 4
    assert "Loading a checkpoint" in (out / "parts" / "id" / "1" / "log.txt").read_text()
    table = pd.read_csv(out / "ablations.csv")
    auc = table[(table.metric == "verification/U/auc") & (table.variant == "all")]
    own = [json.loads((out / "parts" / "all" / seed / "report.json").read_text()) for seed in "12"]
    own = [report["verification"]["U"]["auc"] for report in own]
    assert auc.value.tolist() == pytest.approx([*own, np.mean(own)])
    # Six people for validation have twelve pairs, too few for q = 16.
    agreement = {f"agreement/{name}" for name in ("train/4", "train/16", "valid/4")}
    assert {name for name in table.metric if name.startswith("agreement")} == agreement
    assert "q = [16] is left out" in (out / "parts" / "all" / "1" / "console.txt").read_text()
    text = (out / "ablations.md").read_text()
    assert f"| all | 2 | {100 * np.mean(own):.2f} ± {100 * np.std(own, ddof=1):.2f}" in text
    names = {path.name for path in (out / "figures").glob("*.png")}
    assert names == {"parts_bars.png", "parts_agreement.png"}

    with pytest.raises(SystemExit) as exit_code:
        ablate([str(yaml), "--seeds=[1]"])
    assert exit_code.value.code == 1
    message = "failed: broken/bad/1: exit code 2: error: num_clusters: q = 64 is larger"
    assert message in capsys.readouterr().err
    assert "Not done: broken/bad/1" in (out / "ablations.md").read_text()
    assert reports == {path: path.stat().st_mtime_ns for path in out.rglob("report.json")}


def test_a_dry_run_lists_and_runs_nothing(tmp_path, ablate, capsys):
    yaml = write_ablation(tmp_path)
    ablate([str(yaml), "--grids=parts", "--seeds=[7]", '--base=["--lr=0.5"]', "--dry_run"])
    printed = capsys.readouterr().out
    assert "to do parts/all/7 --lr=0.5\n" in printed and "2 cells, 2 runs, 0 done" in printed
    assert not (tmp_path / "out").exists()
