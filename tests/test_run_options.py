"""SpeechBrain's run options, all of them: each is honoured, or refused in one line before work."""

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from speechbrain.utils.run_opts import RunOptions

from speechbrain_fv.data.readers import EmbeddingReader, LostFile
from speechbrain_fv.data.selection import spread_clips
from speechbrain_fv.settings import reads
from speechbrain_fv.settings.loading import load_hparams
from speechbrain_fv.settings.run_options import settle
from speechbrain_fv.training import preparing, setup
from tests.paths import HPARAMS, ROOT
from tests.small_runs import OPTIONS, equal, train, write_corpus

NUM_BATCHES = 6
SMALL = (*OPTIONS, f"--steps_per_epoch={NUM_BATCHES}", "--number_of_epochs=1", "--device=cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def build(corpus, folder, *options):
    """Returns the Brain of a small training, its settings, and a function that trains it."""
    chosen = {option.split("=")[0]: option for option in [corpus, *SMALL, *options]}
    argv = [str(HPARAMS / "bipcm_fst.yaml"), f"--output_folder={folder}", *chosen.values()]
    run_opts, hparams, text = load_hparams(argv, reads.TRAIN)
    setup.check_method(hparams, run_opts)
    manifests, classes = preparing.prepared(hparams, run_opts, text)
    brain, train_set, valid, _ = setup.make_brain(hparams, run_opts, manifests, classes)
    return brain, hparams, lambda: brain.fit(hparams["epoch_counter"], train_set, valid)


def fitted(corpus, folder, *options):
    """Returns the Brain of a finished training."""
    brain, _, fit = build(corpus, folder, *options)
    fit()
    return brain


HONOURED = {
    "test_only": (["--test_only"], 0),
    "debug": (["--debug"], 2),
    "debug_batches": (["--debug", "--debug_batches=3"], 3),
    "debug_epochs": (["--debug", "--debug_epochs=1"], 2),
    "debug_persistently": (["--debug", "--debug_persistently"], 2),
    "device": (["--device=cpu"], 6),
    "distributed_backend": (["--distributed_backend=gloo"], 6),
    "jit": (["--jit", "--jit_module_keys=cmwr"], 6),
    "jit_module_keys": (["--jit", "--jit_module_keys=cmwr"], 6),
    "precision": (["--precision=bf16"], 6),
    "eval_precision": (["--eval_precision=bf16"], 6),
    "bfloat16_mix_prec": (["--bfloat16_mix_prec"], 6),
    "max_grad_norm": (["--max_grad_norm=-1"], 6),
    "skip_nonfinite_grads": (["--skip_nonfinite_grads"], 6),
    "nonfinite_patience": (["--nonfinite_patience=2"], 6),
    "noprogressbar": (["--noprogressbar"], 6),
    "ckpt_interval_minutes": (["--ckpt_interval_minutes=1"], 6),
    "ckpt_interval_steps": (["--ckpt_interval_steps=4"], 6),
    "grad_accumulation_factor": (["--grad_accumulation_factor=2"], 3),
    "optimizer_step_limit": (["--optimizer_step_limit=4"], 4),
    "tqdm_colored_bar": (["--tqdm_colored_bar"], 6),
    "remove_vector_weight_decay": (["--remove_vector_weight_decay"], 6),
}
"""Option -> what is given, and the steps that are then made of six in one epoch."""

ELSEWHERE = {
    "log_config": "test_a_run_without_bars_and_with_a_logging_of_its_own",
    "compile": "test_modules_are_compiled",
    "compile_module_keys": "test_modules_are_compiled",
    "compile_mode": "test_modules_are_compiled",
    "compile_using_fullgraph": "test_modules_are_compiled",
    "compile_using_dynamic_shape_tracing": "test_modules_are_compiled",
    "profile_training": "test_a_profile_ends_the_run",
    "profile_warmup": "test_a_profile_ends_the_run",
    "profile_steps": "test_a_profile_ends_the_run",
}
"""Option -> the test below in which it is honoured."""

REFUSED = {
    "test_only": [],
    "debug": [("--debug --grad_accumulation_factor=3", "at most the 2 --debug_batches, got 3")],
    "debug_batches": [
        ("--debug_batches=3", "--debug_batches: expected --debug beside it"),
        ("--debug --debug_batches=0", "expected a whole number of at least 1, got 0"),
    ],
    "debug_epochs": [("--debug_epochs=3", "expected --debug beside it")],
    "debug_persistently": [("--debug_persistently", "expected --debug beside it")],
    "log_config": [("--log_config=nowhere.yaml", "nowhere.yaml: cannot be read")],
    "device": [("--device=", "--device: expected a text"), ("--device=nowhere", "cannot be used")],
    "data_parallel_backend": [("--data_parallel_backend", "torchrun --nproc_per_node=N")],
    "distributed_backend": [("--distributed_backend=mpi", "expected 'nccl' or 'gloo', got 'mpi'")],
    "find_unused_parameters": [("--find_unused_parameters", "expected to be left out")],
    "jit": [("--jit", "jit: torch.jit.script cannot compile face_encoder")],
    "jit_module_keys": [
        ("--jit_module_keys=cmwr", "--jit_module_keys: expected --jit beside it"),
        ("--jit --jit_module_keys=cmw", "no module 'cmw'; did you mean 'cmwr'?"),
    ],
    "compile": [("--compile --compile_module_keys=face", "there is no module 'face'")],
    "compile_module_keys": [("--compile_module_keys=cmwr", "expected --compile beside it")],
    "compile_mode": [
        ("--compile_mode=max-autotune", "expected --compile beside it"),
        ("--compile --compile_mode=fast", "compile_mode: expected 'default' or"),
    ],
    "compile_using_fullgraph": [("--compile_using_fullgraph", "expected --compile beside it")],
    "compile_using_dynamic_shape_tracing": [
        ("--compile_using_dynamic_shape_tracing", "expected --compile beside it")
    ],
    "precision": [("--precision=fp16", "precision: expected fp32 or bf16 on the CPU, got fp16")],
    "eval_precision": [("--eval_precision=fp16", "eval_precision: expected fp32 or bf16")],
    "auto_mix_prec": [("--auto_mix_prec", "precision: expected fp32 or bf16 on the CPU")],
    "bfloat16_mix_prec": [("--bfloat16_mix_prec --precision=fp32", "no other precision beside it")],
    "max_grad_norm": [
        ("--max_grad_norm=0", "expected a number above 0, or below 0 for no clipping, got 0"),
        ("--max_grad_norm=nan", "or below 0 for no clipping, got nan"),
    ],
    "nonfinite_patience": [("--nonfinite_patience=-1", "a whole number of at least 0, got -1")],
    "ckpt_interval_minutes": [
        ("--ckpt_interval_minutes=1 --ckpt_interval_steps=1", "expected one of them above 0")
    ],
    "grad_accumulation_factor": [
        ("--grad_accumulation_factor=0", "a whole number of at least 1, got 0"),
        ("--grad_accumulation_factor=7", "at most the 6 batches of an epoch, got 7"),
    ],
    "optimizer_step_limit": [
        ("--optimizer_step_limit=abc", "expected a whole number of at least 1, or null, got 'abc'"),
        ("--optimizer_step_limit=0", "expected a whole number of at least 1, or null, got 0"),
    ],
    "profile_training": [("--profile_training", "at most the 6 batches of an epoch")],
    "profile_warmup": [("--profile_warmup=1", "expected --profile_training beside it")],
    "profile_steps": [
        ("--profile_steps=1", "expected --profile_training beside it"),
        ("--profile_training --profile_steps=0", "a whole number of at least 1, got 0"),
    ],
}
"""Option -> what is given and told."""

NO_OPTIONS = {"param_file", "overridden_args", "tqdm_barcolor"}
IN_A_YAML = {"data_parallel_count": 2, "distributed_launch": True}


def test_the_tables_hold_every_option():
    told = set(HONOURED) | set(ELSEWHERE) | set(REFUSED) | set(IN_A_YAML)
    assert told == set(vars(RunOptions())) - NO_OPTIONS
    assert set(ELSEWHERE.values()) <= set(globals())


@pytest.mark.parametrize("name", HONOURED)
def test_an_option_is_honoured(corpus, tmp_path, name):
    options, num_steps = HONOURED[name]
    brain = fitted(corpus, tmp_path / "run", "--number_of_epochs=1", *options)
    assert brain.optimizer_step == num_steps
    if num_steps:
        folder = tmp_path / ("run-debug" if "--debug" in options else "run")
        table = pd.read_csv(folder / "train_curves.csv")
        assert (table[table.name == "loss"].step == range(1, num_steps + 1)).all()
        assert np.isfinite(table.value).all()


@pytest.mark.parametrize(
    ("options", "message"), [case for cases in REFUSED.values() for case in cases]
)
def test_an_option_is_refused_before_anything_is_made(corpus, tmp_path, options, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        build(corpus, tmp_path / "run", *options.split())
    assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("name", IN_A_YAML)
def test_what_a_yaml_cannot_say_is_refused(name):
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        settle(RunOptions(), {name: IN_A_YAML[name]})


def test_a_yaml_sets_options_and_the_command_line_wins():
    written = {"ckpt_interval_minutes": 2, "max_grad_norm": -1.0, "grad_accumulation_factor": 4}
    given = RunOptions.from_dictionary({"grad_accumulation_factor": 2, "ckpt_interval_steps": 9})
    options = settle(given, written)
    assert options["grad_accumulation_factor"] == 2 and options["max_grad_norm"] == math.inf
    assert (options["ckpt_interval_minutes"], options["ckpt_interval_steps"]) == (0, 9)
    assert {"max_grad_norm", "ckpt_interval_minutes"} <= options.overridden_args
    assert settle(RunOptions(), {"debug": True, "device": "cpu"})["debug"]
    with pytest.raises(ValueError, match="grad_accumulation_factor: expected a whole number"):
        settle(RunOptions(), {"grad_accumulation_factor": "2"})
    with pytest.raises(ValueError, match="expected one of them above 0"):
        settle(RunOptions(), {"ckpt_interval_minutes": 2, "ckpt_interval_steps": 9})


def test_every_process_of_torchrun_has_a_gpu_of_its_own(monkeypatch):
    """SpeechBrain takes "cuda" for the first GPU, which all processes would share."""
    assert settle(RunOptions(), {"device": "cuda"})["device"] == "cuda"
    monkeypatch.setenv("RANK", "11")
    monkeypatch.setenv("LOCAL_RANK", "3")
    for device in ("cuda", "cuda:3"):
        given = RunOptions.from_dictionary({"device": device})
        options = settle(given)
        assert options["device"] == "cuda:3" and "device" in options.overridden_args
    assert settle(RunOptions(), {"device": "cpu"})["device"] == "cpu"
    assert settle(RunOptions())["device"] is None  # SpeechBrain's own choice is the right one
    with pytest.raises(ValueError, match="device: expected cuda, of which every process"):
        settle(RunOptions(), {"device": "cuda:0"})


@pytest.mark.parametrize(
    ("method", "declared"),
    [("evaluate.yaml --embeddings=e", "EVALUATE"), ("ablations.yaml", "ABLATE")],
)
def test_other_scripts_refuse_what_they_do_not_use(method, declared):
    argv = [*f"{HPARAMS}/{method}".split(), "--debug"]
    with pytest.raises(ValueError, match=r"--debug: expected, of SpeechBrain's options, --"):
        load_hparams(argv, getattr(reads, declared), getattr(reads, f"{declared}_OPTIONS"))


def test_a_negative_norm_clips_nothing(corpus, tmp_path):
    runs = {
        norm: fitted(corpus, tmp_path / norm, f"--max_grad_norm={norm}").modules.state_dict()
        for norm in ("-1", "1e9", "1e-3")
    }
    assert equal(runs["-1"], runs["1e9"]) and not equal(runs["-1"], runs["1e-3"])


def test_all_groups_of_the_optimiser_are_clipped(corpus, tmp_path):
    options = ("--remove_vector_weight_decay", "--max_grad_norm=0.01")
    brain, _, fit = build(corpus, tmp_path, *options)
    norms = []

    def record(optimizer, args, kwargs):
        gradients = [p.grad for g in optimizer.param_groups for p in g["params"]]
        norms.append(float(torch.nn.utils.get_total_norm([g for g in gradients if g is not None])))

    make = brain.init_optimizers
    brain.init_optimizers = lambda: (make(), brain.optimizer.register_step_pre_hook(record))
    fit()
    assert len(brain.optimizer.param_groups) == 2
    assert norms == [pytest.approx(0.01, rel=1e-3)] * NUM_BATCHES


def spoil(brain, bad):
    """Makes the faces of some batches NaN on their way into the network."""
    brain.modules.face_encoder.register_forward_pre_hook(
        lambda module, inputs: (inputs[0] * math.nan,) if brain.step in bad else None
    )


def test_batches_without_a_finite_loss_are_skipped_as_if_never_drawn(corpus, tmp_path):
    options = ("--nonfinite_patience=2", "--standardize=True")
    brain, hparams, fit = build(corpus, tmp_path, *options)
    spoil(brain, {2, 5})
    fit()
    assert brain.optimizer_step == NUM_BATCHES - 2
    assert hparams["lr_schedule"].current_step == NUM_BATCHES - 2
    assert all(torch.isfinite(value).all() for value in brain.modules.state_dict().values())


@pytest.mark.parametrize("patience", ["--nonfinite_patience=1", "--nonfinite_patience=0", ""])
def test_more_such_batches_than_the_patience_stop_the_training(corpus, tmp_path, patience):
    brain, _, fit = build(corpus, tmp_path, *filter(None, [patience]))
    spoil(brain, {2, 3})
    with pytest.raises(ValueError, match=r"NaN or infinite embeddings at epoch 1, step [23] .*\+c"):
        fit()
    assert brain.step == (3 if patience.endswith("1") else 2)


@pytest.mark.parametrize("modality", ["face", "voice"])
def test_only_clips_that_are_not_finite_themselves_are_named(corpus, tmp_path, modality):
    """BatchNorm spreads one NaN over all embeddings: the whole batch used to be named."""
    brain, hparams, fit = build(corpus, tmp_path, "--standardize=True")
    forward, named = brain.compute_forward, []

    def spoiled(batch, stage):
        if brain.step == 2:
            inputs = batch.face if modality == "face" else batch.voice.data
            inputs[3] = math.nan if modality == "face" else 1e20
            named.append(getattr(batch, f"{modality}_id")[3])
        return forward(batch, stage)

    brain.compute_forward = spoiled
    if modality == "voice":  # finite samples, whose energy is not
        hparams["voice_encoder"].features = torch.square
    with pytest.raises(ValueError) as caught:
        fit()
    what = {"face": "(face input)", "voice": "(voice features)"}[modality]
    assert str(caught.value).endswith(f"; clips {named[0]} {what}")


def lose(monkeypatch, clips):
    """Lets some clips be unreadable from now on."""
    read = EmbeddingReader.__call__

    def reading(self, clip, draw):
        if clip in clips and self.vectors_key == "face_vectors":
            reason = f"cannot be read although the preparation could ({draw})"
            raise LostFile(f"{clip}.jpg: {reason}", f"{clip}.jpg")
        return read(self, clip, draw)

    monkeypatch.setattr(EmbeddingReader, "__call__", reading)


def test_a_run_goes_on_without_a_few_lost_files_and_names_them(
    corpus, tmp_path, monkeypatch, caplog
):
    """One file that a disk lost ended a training of weeks."""
    brain, hparams, fit = build(corpus, tmp_path, "--lost_files=2")
    tables = hparams["training"].loader.dataset.datasets["face"].data
    trained, person = tables[5]["ID"], tables[5]["spk_id"]
    lose(monkeypatch, {trained})
    fit()
    assert brain.optimizer_step == NUM_BATCHES
    assert brain.training_summary()["lost_files"] == brain.lost.texts
    assert [text.split(":")[0] for text in brain.lost.texts] == [f"{trained}.jpg"]
    assert caplog.text.count("lost file 1, of at most 2 (lost_files): ") == 1
    embeddings = brain.embed(hparams["training"].loader)
    assert embeddings.face_identity[5] == person and len(embeddings.face_id) == len(tables)
    assert np.array_equal(embeddings.face[5], embeddings.face[6])  # the person's next one


def test_a_lost_file_of_the_validation_is_left_out_of_it(corpus, tmp_path, monkeypatch, caplog):
    brain, _, fit = build(corpus, tmp_path, "--lost_files=1")
    fit()
    whole = brain.embeddings
    lose(monkeypatch, {whole.face_id[3]})
    brain, _, fit = build(corpus, tmp_path / "again", "--lost_files=1")
    fit()
    assert brain.embeddings.face_id.tolist() == np.delete(whole.face_id, 3).tolist()
    assert brain.embeddings.voice_id.tolist() == whole.voice_id.tolist()


def test_more_lost_files_than_are_allowed_end_the_run(corpus, tmp_path, monkeypatch):
    _, hparams, fit = build(corpus, tmp_path, "--lost_files=1")
    rows = hparams["training"].loader.dataset.datasets["face"].data
    lose(monkeypatch, {rows[row]["ID"] for row in (0, 1, 2)})
    what = r"\.jpg: cannot .* this is lost file 2, of at most lost_files = 1"
    with pytest.raises(ValueError, match=what):
        fit()


def test_a_person_without_any_file_left_is_replaced_and_a_resumed_run_still_names_it(
    corpus, tmp_path, monkeypatch
):
    brain, hparams, fit = build(corpus, tmp_path)
    rows = hparams["training"].loader.dataset.datasets["face"].data
    gone = [row for row in range(len(rows)) if rows[row]["spk_id"] == rows[0]["spk_id"]]
    lose(monkeypatch, {rows[row]["ID"] for row in gone})
    fit()
    embeddings = brain.embed(hparams["training"].loader)
    assert len(brain.lost.texts) == len(gone) and len(embeddings.face_id) == len(rows)
    assert embeddings.face_identity[gone].tolist() == [rows[0]["spk_id"]] * len(gone)
    assert np.array_equal(embeddings.face[gone], embeddings.face[[len(gone)] * len(gone)])
    monkeypatch.undo()
    brain, _, fit = build(corpus, tmp_path, "--number_of_epochs=2")
    fit()
    assert len(brain.training_summary()["lost_files"]) == len(gone)


def test_a_kill_after_the_checkpoint_of_an_epochs_last_step_repeats_no_row(
    corpus, tmp_path, monkeypatch
):
    """The validation stood twice in the curves: once of the run that was killed while saving it.

    A file that could not be read before the kill is still named.
    """
    brain, hparams, fit = build(corpus, tmp_path, f"--ckpt_interval_steps={NUM_BATCHES}")
    trained = hparams["training"].loader.dataset.datasets["face"].data[5]["ID"]
    lose(monkeypatch, {trained})
    save = brain.checkpointer.save_and_keep_only

    def killed(*args, end_of_epoch=True, **kwargs):
        if end_of_epoch:
            raise KeyboardInterrupt
        save(*args, end_of_epoch=False, **kwargs)

    monkeypatch.setattr(brain.checkpointer, "save_and_keep_only", killed)
    with pytest.raises(KeyboardInterrupt):
        fit()
    assert "valid_auc_U" in pd.read_csv(hparams["curves"].path).name.tolist()
    monkeypatch.undo()
    lost = fitted(corpus, tmp_path).training_summary()["lost_files"]
    assert [text.split(":")[0] for text in lost] == [f"{trained}.jpg"]
    table = pd.read_csv(hparams["curves"].path)
    assert "valid_auc_U" in table.name.tolist() and not table.duplicated(["step", "name"]).any()


def test_batches_for_the_cpu_are_not_pinned_where_a_gpu_is(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    _, hparams, _ = build(corpus, tmp_path, "--device=cpu")
    assert not hparams["training"].loader.pin_memory and not hparams["training"].sample.pin_memory


def test_validation_takes_as_many_clips_as_it_is_told(corpus, tmp_path, caplog):
    caplog.set_level("DEBUG", "speechbrain_fv")
    brain, _, fit = build(corpus, tmp_path, "--valid_clips=9")
    fit()
    found = brain.embeddings
    assert len(found.face_id) == len(found.voice_id) == 9
    assert len(set(found.face_identity)) == len(set(found.voice_identity)) == 6  # all of them
    assert "validation: 9 of 24 faces, of 6 of 6 people, the same in every epoch" in caplog.text
    assert "validation of 9 faces and 9 voices: embedded in " in caplog.text


def test_a_choice_of_clips_has_the_same_people_in_both_modalities():
    table = pd.DataFrame({"spk_id": list("abcdefgh") * 5, "number": range(40)})
    faces, voices = (spread_clips(rows, 3, seed=1) for rows in (table, table.iloc[::-1]))
    assert len(set(faces.spk_id)) == 3 and set(faces.spk_id) == set(voices.spk_id)
    assert faces.number.is_monotonic_increasing
    assert spread_clips(table, 17, 1).spk_id.value_counts().isin([2, 3]).all()
    assert spread_clips(table, 40) is table


def test_a_skipped_batch_leaves_the_rest_of_its_group(corpus, tmp_path):
    options = ("--nonfinite_patience=1", "--grad_accumulation_factor=2")
    brain, _, fit = build(corpus, tmp_path, *options)
    spoil(brain, {4})  # the second of the second group
    fit()
    assert brain.optimizer_step == 3


def test_curves_are_means_over_the_batches_of_a_step(corpus, tmp_path):
    brain, _, fit = build(corpus, tmp_path, "--grad_accumulation_factor=3")
    losses, log = [], brain.on_fit_batch_end

    def on_fit_batch_end(batch, outputs, loss, should_step):
        losses.append(float(loss.detach()))
        log(batch, outputs, loss, should_step)

    brain.on_fit_batch_end = on_fit_batch_end
    fit()
    table = pd.read_csv(tmp_path / "train_curves.csv")
    means = np.reshape(losses, (2, 3)).mean(axis=1)
    assert table[table.name == "loss"].value.tolist() == pytest.approx(means.tolist())


def test_a_stopped_run_does_not_lose_gradients_that_wait(corpus, tmp_path):
    options = ("--grad_accumulation_factor=2", "--ckpt_interval_steps=1")
    whole = fitted(corpus, tmp_path / "whole", *options)
    brain, _, fit = build(corpus, tmp_path / "stopped", *options)
    fit_batch = brain.fit_batch

    def stopped_in_a_group(batch):
        if brain.step == 4:
            raise KeyboardInterrupt
        return fit_batch(batch)

    brain.fit_batch = stopped_in_a_group
    with pytest.raises(KeyboardInterrupt):
        fit()
    resumed = fitted(corpus, tmp_path / "stopped", *options)
    assert equal(whole.modules.state_dict(), resumed.modules.state_dict())


def test_modules_are_compiled(corpus, tmp_path):
    options = "--compile --compile_mode=reduce-overhead --compile_using_fullgraph"
    options += " --compile_using_dynamic_shape_tracing --compile_module_keys=cmwr"
    brain, _, _ = build(corpus, tmp_path, *options.split())
    brain.on_fit_start()
    assert type(brain.modules.cmwr).__name__ == "OptimizedModule"
    assert type(brain.modules.face_encoder).__name__ == "FaceEncoder"


def test_a_profile_ends_the_run(corpus, tmp_path):
    options = ("--profile_training", "--profile_warmup=1", "--profile_steps=2")
    brain, _, fit = build(corpus, tmp_path, *options)
    with pytest.raises(SystemExit):
        fit()
    assert brain.step == 3
    assert len(list((tmp_path / "profiler_logs").glob("*.json*"))) == 1


def test_a_run_without_bars_and_with_a_logging_of_its_own(corpus, tmp_path):
    config = tmp_path / "log.yaml"
    config.write_text(
        "version: 1\ndisable_existing_loggers: false\n"
        "formatters: {short: {format: 'OWN %(message)s'}}\n"
        "handlers: {file_handler: {class: logging.FileHandler, formatter: short, filename: x}}\n"
        "root: {level: INFO, handlers: [file_handler]}\n"
    )
    options = ("--noprogressbar", f"--log_config={config}", "--number_of_epochs=1")
    result = train(corpus, tmp_path / "run", *options)
    assert result.returncode == 0, result.stderr
    assert "%|" not in result.stderr and "it/s" not in result.stderr
    lines = (tmp_path / "run" / "log.txt").read_text().splitlines()
    assert lines[0].startswith("OWN ")


def test_every_bar_can_be_turned_off():
    files = [*Path(ROOT, "speechbrain_fv").rglob("*.py"), *Path(ROOT, "recipes").glob("*.py")]
    assert [file.name for file in files if "import tqdm" in file.read_text()] == ["messages.py"]
