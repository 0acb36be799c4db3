"""A key that nobody reads is refused, at every level, with the nearest right name."""

import re

import pytest

from speechbrain_fv.settings import reads
from speechbrain_fv.settings.loading import load_hparams, resolve_hparams
from tests.paths import HPARAMS, ROOT
from tests.settings_files import METHOD, PART, READS, load, write, write_files


@pytest.fixture
def files(tmp_path):
    return write_files(tmp_path)


ON_BASE = "--- !include:../shipped/train.yaml\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smothing: 0.2", r"own\.yaml: nobody reads 'smothing'; did you mean 'smoothing'"),
        ("batch_sise: 4", "nobody reads 'batch_sise'; did you mean 'batch_size'"),
        ("precison: bf16", "nobody reads 'precison'; did you mean 'precision'"),
        ("corpus: {secnds: 3}", r"'secnds' of corpus \(.*small\.yaml\); did you mean 'seconds'"),
        (
            "corpus: !include:parts/large.yaml {secnds: 3}",
            r"'secnds' of corpus \(.*large\.yaml\); did you mean 'seconds'",
        ),
        ("corpus: !include:parts/large.yaml {unused: 3}", "nobody reads 'unused' of corpus"),
        ("corpus: {reader: {treshold: 3}}", r"corpus\[reader\].* 'treshold'; did you mean 'thresh"),
        ("loss: {label_smothing: 0.2}", "loss: .*'label_smothing'; did you mean 'label_smoothing'"),
        ("colour: red", "nobody reads 'colour'; leave it out, or hand it on with !ref <colour>$"),
        # Its only reader is replaced by the same file.
        ("smoothing: 0.2\nloss: !new:torch.nn.L1Loss", "nobody reads 'smoothing'"),
        ("group: {smoothing: 1}\nlr: !ref <group[smoothing]>", None),
        (
            "group: {smoothing: 1, other: 2}\nlr: !ref <group[smoothing]>",
            "nobody reads 'other' of group; expected one of smoothing",
        ),
        ("group: {a: 1, b: 2}\nloss_weights: {L: !ref <group>}", None),
        ("deep: {a: {bb: 1}}\nlr: !ref <deep[a][b]>", r"names no key 'b'; did you mean 'bb'"),
        ("loss: !new:torch.nn.L1Loss", None),  # the base's smoothing is then unread: not a mistake
        ("device: cpu\nckpt_interval_minutes: 2\n__note: 3", None),  # SpeechBrain's own
        ("loss_weights: {anything: 3}", None),  # read as a whole
    ],
)
def test_keys_of_a_yaml_on_a_base(files, text, message):
    path = write(files, "user/own.yaml", f"{ON_BASE}{text}\n")
    if message is None:
        resolve_hparams([path], READS)
        return
    with pytest.raises(ValueError, match=message) as caught:
        resolve_hparams([path], READS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--smothing=0.2", "--smothing: expected a key of the YAML, .*did you mean 'smoothing'"),
        ("--devise=cpu", "did you mean 'device'"),
        ("--corpus={secnds: 3}", r"'secnds' of corpus \(.*small\.yaml\); did you mean 'seconds'"),
        ("--corpus=!include:parts/large.yaml {secnds: 3}", r"'secnds' of corpus \(.*large\.yaml"),
        ("--corpus={reader: {treshold: 3}}", r"corpus\[reader\].* did you mean 'threshold'"),
        ("--loss={margn: 3}", "loss: .*did you mean 'margin'"),
        ("--smoothing=0.2", "nobody reads 'smoothing'"),  # since the method has another loss
        ("--margin=0.2 --loss=!new:torch.nn.L1Loss", None),  # its reader is replaced on purpose
        ("--corpus={size: 7} --first=!new:torch.nn.Identity", None),
        ("--loss=!new:torch.nn.L1Loss", None),  # the method's margin is then unread
        ("--save_folder=x", None),
    ],
)
def test_keys_of_the_command_line(files, override, message):
    argv = [str(files / "user" / "method.yaml"), *re.split(r" (?=--)", override)]
    if message is None:
        resolve_hparams(argv, (*READS, "last"))
        return
    with pytest.raises(ValueError, match=message):
        resolve_hparams(argv, (*READS, "last"))


def test_keys_of_own_includes_and_bases(files):
    method = str(files / "user" / "method.yaml")
    small = f"--- !include:{files}/shipped/parts/small.yaml\n"
    part = write(files, "user/part.yaml", f"{small}secnds: 3\n")
    with pytest.raises(ValueError, match=r"'secnds' of corpus \(.*user/part\.yaml\)"):
        resolve_hparams([method, f"--corpus=!include:{part}"], (*READS, "last"))
    inner = PART.format(size=3) + "inner: !include:inner.yaml {numer: 1}\n"
    write(files, "user/part.yaml", inner.replace("2.0", "!ref <inner[number]>"))
    write(files, "user/inner.yaml", "number: 2\n")
    with pytest.raises(ValueError, match=r"'numer' of corpus\[inner\] .*did you mean 'number'"):
        resolve_hparams([method, f"--corpus=!include:{part}"], (*READS, "last"))
    own_base = METHOD.replace("lr: 0.5", "corpus: !include:parts/small.yaml {secnds: 3}")
    write(files, "user/method.yaml", own_base)
    top = write(files, "user/top.yaml", "--- !include:method.yaml\nseed: 3\n")
    with pytest.raises(ValueError, match=r"'secnds' of corpus"):
        resolve_hparams([top], (*READS, "last"))


def test_a_yaml_without_base_has_all_its_keys_checked(files):
    path = write(files, "user/flat.yaml", "seed: 1\nlr: !ref <seed>\nsede: 2\n")
    with pytest.raises(ValueError, match="nobody reads 'sede'; did you mean 'seed'"):
        resolve_hparams([path], ("lr",))
    resolve_hparams([path])  # a script that does not say what it reads


def test_braces_that_an_override_has_replaced_are_not_judged(files):
    write(files, "user/other.yaml", PART.format(size=3) + "volume: 3\nloud: !ref <volume>\n")
    text = f"{ON_BASE}corpus: !include:other.yaml {{volume: 4}}\n"
    path = write(files, "user/own.yaml", text)
    resolve_hparams([path], READS)
    resolve_hparams([path, "--corpus=!include:parts/small.yaml"], READS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--face=!include:face/timm.yaml {modle: resnet18}"], r"face/timm\.yaml\); .* 'model'"),
        (["--corpus={clip_secnds: 3.0}"], r"corpora/embedded\.yaml\); did you mean 'clip_seconds'"),
        (["--corpus={face_reader: {imagesize: 3}}"], "did you mean 'image_size'"),
        (["--sampler={batchsize: 3}"], "sampler: .*'batchsize'; did you mean 'batch_size'"),
        (["--voice=!include:voice/ecapa.yaml {pretraind: x}"], "did you mean 'pretrained'"),
        (["--gama1=3"], "did you mean 'gamma1'"),
    ],
)
def test_misspelt_keys_of_the_shipped_method(options, message):
    with pytest.raises(ValueError, match=message):
        load_hparams([str(HPARAMS / "bipcm_fst.yaml"), *options], reads.TRAIN)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lists=!include:protocols/sampled.yaml {sed: 1}"], "'sed' of lists .* 'seed'"),
        (["--lists=[!include:protocols/sampled.yaml {sed: 1}]"], "'sed' of lists .* 'seed'"),
        (["--lists={sed: 1}"], "nobody reads 'sed' of lists; expected one of trials"),
        (["--metdata=x.csv"], "did you mean 'metadata'"),
    ],
)
def test_misspelt_keys_of_the_evaluation(options, message):
    argv = [str(HPARAMS / "evaluate.yaml"), "--embeddings=e.npz", *options]
    with pytest.raises(ValueError, match=message):
        resolve_hparams(argv, reads.EVALUATE)


SOURCES = {
    "TRAIN": [ROOT / "recipes" / "train.py", *(ROOT / "speechbrain_fv" / "training").glob("*.py")],
    "EVALUATE": [ROOT / "recipes" / "evaluate.py"],
    "ABLATE": [ROOT / "recipes" / "ablate.py"],
    "COMPARE": [
        ROOT / "recipes" / "compare_methods.py",
        ROOT / "speechbrain_fv" / "experiments" / "comparison" / "writing.py",
    ],
}


@pytest.mark.parametrize("name", SOURCES)
def test_what_the_scripts_read_is_declared(name):
    text = "".join(path.read_text(encoding="utf-8") for path in SOURCES[name])
    read = set(re.findall(r'hparams\["(\w+)"\](?! =)|self\.hparams\.(\w+)', text))
    made = set(re.findall(r'hparams\["(\w+)"\] =', text)) - {"lr_schedule"}  # by the script
    names = {first or second for first, second in read} - made | {
        name for name in re.findall(r'self\.hparams, "(\w+)"', text)
    }
    if name == "EVALUATE":
        names.add("metadata")
    assert names - {path.split("[")[0] for path in getattr(reads, name)} == set()


def test_the_helpers_of_these_tests_load_with_all_checks(files):
    """So that the cases above fail for their one mistake only."""
    load(files / "user" / "method.yaml")
    load(files / "shipped" / "train.yaml")
