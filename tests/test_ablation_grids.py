"""Grids of overrides x seeds: what is to be run."""

import pytest
import torch
from ruamel.yaml import YAML

from speechbrain_fv import messages
from speechbrain_fv.experiments.ablations import grids
from speechbrain_fv.losses import Batch, TrainingSet
from speechbrain_fv.settings.loading import load_hparams
from tests.paths import HPARAMS

BIPCM = str(HPARAMS / "bipcm_fst.yaml")
SHIPPED = YAML(typ="safe").load(HPARAMS / "ablations.yaml")["ablations"]
VECTORS = ["--face=!include:face/embedding.yaml", "--voice=!include:voice/embedding.yaml"]


def test_equal_settings_have_one_key_however_they_are_written():
    def key(*options):
        return grids.settings_key((BIPCM, *options))

    plain = key()
    assert key("--num_clusters=[8,32, 64]") == key("--discriminator={temperature: 0.3}") == plain
    phi = "--discriminator=!new:speechbrain_fv.losses.PrototypeDiscriminator {temperature: 0.3}"
    assert key(phi) == plain
    others = [key("--gamma1=1.0"), key("--num_clusters=[8]"), key("--precision=bf16")]
    assert len({plain, *others}) == 4


def test_the_keys_of_runs_leave_the_progress_bars_as_the_command_set_them():
    try:
        messages.show_progress(False)
        grids.settings_key((BIPCM,))
        assert messages.progress_bar(total=1).disable
    finally:
        messages.show_progress(True)


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
            ("kinds", "separate", 1),
            ("reading", "prototype", 1),
            ("tau", "0.3", 1),
            ("gamma1", "10", 1),
            ("gamma2", "0.1", 1),
            ("schedule", "exponential", 1),
            ("fig8", "all_0", 1),
        )
    }
    assert whole == {"table4/all/1"}
    assert plan["fig8", "no_BiP_0", 2] is plan["fig4", "no_BiP", 2]
    assert plan["fig4", "baseline", 2] is plan["table4", "CMWR_id", 2]
    assert len({run.name for run in plan.values()}) == 2 * (len(variants) - 9 - 2)


@pytest.mark.parametrize("grid", ["table4", "fig4", "reading"])
def test_shipped_variants_train_a_step(grid, tmp_path):
    for name, own in SHIPPED[grid]["variants"].items():
        arguments = grids.merge_arguments(VECTORS, [own] if isinstance(own, str) else own)
        argv = [BIPCM, *arguments, f"--output_folder={tmp_path}", "--num_clusters=[4, 8]"]
        _, hparams, _ = load_hparams(argv)
        modules = hparams["modules"]
        modules["objective"].build(TrainingSet({"identity": 8}))
        face, voice = modules["face_encoder"](torch.randn(16, 128)), torch.randn(16, 256)
        voice = modules["voice_encoder"](voice, torch.ones(16))
        refined = modules["cmwr"](torch.cat([face, voice])).chunk(2)
        targets = {"identity": torch.arange(16) % 8}
        batch = Batch(*refined, targets, targets, generator=torch.Generator())
        terms, _ = modules["objective"](batch)
        hparams["loss_weights"](terms, 10**6).backward()
        weights = hparams["loss_weights"].at(10**6)
        without = {"no_cma": "L_cma", "no_BiP": "L_BiP", "no_KL": "L_KL", "no_id": "L_id"}
        zero = {without[name]} if name in without else set()
        if name in ("id", "CMWR_id", "baseline"):
            zero = {"L_cma", "L_BiP", "L_KL"}
        if name == "id_cma":
            zero = {"L_BiP", "L_KL"}
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
