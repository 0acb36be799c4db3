"""SpeechBrain's own loaders and arguments: the same bundle, the same embeddings, nothing mixed."""

import inspect
import json
import re
import shutil
import sys

import pytest
import torch
from speechbrain.inference.interfaces import Pretrained, foreign_class, pretrained_from_hparams
from speechbrain.utils.fetching import FetchConfig, FetchFrom, FetchSource, LocalStrategy
from speechbrain.utils.parameter_transfer import Pretrainer

from speechbrain_fv.bundles import hub
from speechbrain_fv.bundles.bundle import load_bundle
from speechbrain_fv.bundles.pretrainer import COLLECTED, BundlePretrainer
from speechbrain_fv.bundles.savedir import collect
from speechbrain_fv.inference import FaceVoiceAssociation
from speechbrain_fv.search import Gallery


@pytest.fixture(scope="module")
def model(bundle_folder):
    return FaceVoiceAssociation.from_hparams(bundle_folder)


@pytest.fixture
def copied(bundle_folder, tmp_path):
    """A copy of the bundle whose files a test may replace."""
    return shutil.copytree(bundle_folder, tmp_path / "copy")


@pytest.fixture
def old(copied):
    """The bundle as it was before it had a pretrainer and an interface."""
    path = copied / "hyperparams.yaml"
    text, _, pretrainer = path.read_text().partition("pretrainer: !new:")
    assert "loadables" in pretrainer
    path.write_text(text)
    config = json.loads((copied / "config.json").read_text())
    del config["speechbrain_interface"]
    (copied / "config.json").write_text(json.dumps(config))
    (copied / "custom.py").unlink()
    return copied


def embeddings(model):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 3, 40, 40), generator=generator).to(torch.uint8)
    wavs = 0.1 * torch.randn(3, 20000, generator=generator)
    return torch.stack([model.encode_face(images), model.encode_voice(wavs)])


LOADERS = {
    "foreign_class": lambda source, **options: foreign_class(
        str(source), pymodule_file="custom.py", classname="FaceVoiceAssociation", **options
    ),
    "foreign_class by default": lambda source, **options: foreign_class(str(source), **options),
    "pretrained_from_hparams": lambda source, **options: pretrained_from_hparams(
        FaceVoiceAssociation, str(source), **options
    ),
    "Pretrained.from_hparams": lambda source, **options: Pretrained.from_hparams.__func__(
        FaceVoiceAssociation, str(source), **options
    ),
    "trusting": lambda source, **options: FaceVoiceAssociation.from_hparams(
        source, trust_remote_code=True, **options
    ),
}


@pytest.mark.parametrize("into_savedir", [False, True])
@pytest.mark.parametrize("loader", LOADERS)
def test_speechbrains_loaders_make_the_same_model(
    loader, into_savedir, bundle_folder, model, tmp_path
):
    options = {"savedir": tmp_path / "saved"} if into_savedir else {}
    other = LOADERS[loader](bundle_folder, run_opts={"device": "cpu"}, **options)
    assert type(other).__name__ == "FaceVoiceAssociation"
    assert torch.equal(embeddings(other), embeddings(model))
    assert (other.version, other.config, other.threshold, other.embedding_dim) == (
        *(model.version, model.config, model.threshold),
        model.embedding_dim,
    )
    face, voice = embeddings(model)
    assert torch.equal(other.verify(face, voice).score, model.verify(face, voice).score)
    assert not any(weight.requires_grad for weight in other.parameters())
    assert Gallery.from_embeddings(other, face).query_voice(voice[0], k=1).ids
    if into_savedir:
        code = {"custom.py"} if "foreign" in loader else set()
        found = {path.name for path in (tmp_path / "saved").iterdir()}
        assert found == {*COLLECTED, *code}
        assert all(path.is_symlink() for path in (tmp_path / "saved").iterdir())


def test_the_bundle_names_its_interface_and_its_pretrainer(bundle_folder):
    config = json.loads((bundle_folder / "config.json").read_text())
    assert config["speechbrain_interface"] == "FaceVoiceAssociation"
    text = (bundle_folder / "hyperparams.yaml").read_text()
    assert text.count("\nmodules:") == text.count("\npretrainer: !new:") == 1
    assert issubclass(BundlePretrainer, Pretrainer)


def test_arguments_are_those_of_speechbrain_in_its_order():
    ours = list(inspect.signature(FaceVoiceAssociation.from_hparams).parameters.values())
    theirs = list(inspect.signature(pretrained_from_hparams).parameters.values())[1:-1]
    names = [parameter.name for parameter in theirs]
    assert [parameter.name for parameter in ours[: len(names)]] == names
    for own, other in zip(ours, theirs, strict=False):
        assert own.default == other.default or (own.default, other.default) == (None, {})
    constructors = [
        {each.name: each.default for each in inspect.signature(owner).parameters.values()}
        for owner in (FaceVoiceAssociation.__init__, Pretrained.__init__)
    ]
    assert list(constructors[0].items()) == list(constructors[1].items())
    positional = [own.name for own in ours if own.kind is own.POSITIONAL_OR_KEYWORD]
    assert positional == [*names, "run_opts", "freeze_params"]
    of_1_0 = {"pymodule_file", "use_auth_token", "revision", "huggingface_cache_dir"}
    assert of_1_0 <= {own.name for own in ours}


def test_a_bundle_without_a_pretrainer_still_loads(old, model):
    assert torch.equal(embeddings(FaceVoiceAssociation.from_hparams(old)), embeddings(model))
    with pytest.raises(KeyError, match="pretrainer"):
        LOADERS["pretrained_from_hparams"](old)


@pytest.mark.parametrize("loader", ["pretrained_from_hparams", "foreign_class", "from_hparams"])
def test_every_loader_refuses_weights_that_do_not_fit(loader, copied):
    path = copied / "hyperparams.yaml"
    path.write_text(path.read_text().replace("model: resnet10t", "model: resnet18"))
    load = LOADERS.get(loader, FaceVoiceAssociation.from_hparams)
    with pytest.raises(ValueError, match="not the weights of this model"):
        load(copied)


def test_a_pretrainer_that_loads_other_modules_is_refused(copied):
    """SpeechBrain would go on with random weights."""
    path = copied / "hyperparams.yaml"
    text, found = re.subn(
        r"(loadables:.*)cmwr: \*\w+",
        r"\1cmwr: !new:speechbrain_fv.cmwr.CMWR {embedding_dim: 256}",
        path.read_text(),
        flags=re.S,
    )
    assert found == 1
    path.write_text(text)
    with pytest.raises(ValueError, match="pretrainer: it loads another cmwr than is used"):
        pretrained_from_hparams(FaceVoiceAssociation, str(copied))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer", "is not on the list"),
        ("pretrainer: !new:{name} {{loadables: {{}}, paths: {{a: b}}}}", "unexpected keyword"),
        ("pretrainer: !new:{name} {{loadables: {{}}, collect_in: x}}", "unexpected keyword"),
        ("pretrainer: !apply:{name} {{loadables: {{}}}}", "is not on the list"),
    ],
)
def test_the_safe_path_makes_no_other_pretrainer(line, reason, copied):
    path = copied / "hyperparams.yaml"
    name = "speechbrain_fv.bundles.pretrainer.BundlePretrainer"
    path.write_text(path.read_text().partition("pretrainer:")[0] + line.format(name=name))
    with pytest.raises(ValueError, match=rf"hyperparams\.yaml.*{reason}"):
        load_bundle(copied)


def test_the_constructor_asks_for_a_bundle(model):
    for hparams in (None, {}, {"pretrainer": BundlePretrainer({})}):
        with pytest.raises(ValueError, match="hparams: expected those of a bundle"):
            FaceVoiceAssociation(dict(model.mods.items()), hparams)
    with pytest.raises(ValueError, match="modules: expected a mapping with face_encoder"):
        FaceVoiceAssociation({}, {"config": model.config, "version": model.version})
    with pytest.raises(ValueError, match="no files; call collect_files"):
        BundlePretrainer({}).load_collected()
    with pytest.raises(ValueError, match="default_source: expected a bundle's folder"):
        BundlePretrainer({}).collect_files()


def test_overrides_are_checked_and_make_another_version(bundle_folder, model):
    def load(overrides, **options):
        return FaceVoiceAssociation.from_hparams(bundle_folder, overrides=overrides, **options)

    other = load({"face_reader": {"resize": 50}})
    assert other.readers["face_reader"].resize == 50 and other.version != model.version
    assert load("face_reader: {resize: 50}").readers["face_reader"].resize == 50
    assert load({}).version == model.version
    trusted = load({"face_reader": {"resize": 50}}, trust_remote_code=True)
    assert trusted.version == other.version
    assert torch.equal(embeddings(trusted), embeddings(other))
    with pytest.raises(ValueError, match=r"hyperparams\.yaml: overrides: .*nothing"):
        load({"nothing": 1})
    assert load({"nothing": 1}, overrides_must_match=False).embedding_dim == 256
    for overrides in ("face_reader: !apply:os.getcwd", {"face_reader": {"resize": "/etc/passwd"}}):
        with pytest.raises(ValueError, match="with overrides, line"):
            load(overrides)
    with pytest.raises(ValueError, match="image_size: expected a number of pixels"):
        load({"face_reader": {"image_size": 0}})


def test_another_yaml_of_the_bundle(copied, model):
    text = (copied / "hyperparams.yaml").read_text()
    (copied / "other.yaml").write_text(text.replace("resize: 36", "resize: 40"))
    other = FaceVoiceAssociation.from_hparams(copied, "other.yaml")
    assert other.readers["face_reader"].resize == 40 and other.version != model.version
    with pytest.raises(ValueError, match=r"no third\.yaml; expected a bundle"):
        FaceVoiceAssociation.from_hparams(copied, "third.yaml")
    for name in ("../copy/other.yaml", "..", str(copied / "other.yaml")):
        with pytest.raises(ValueError, match="expected the name of a file that lies in the bundle"):
            FaceVoiceAssociation.from_hparams(copied, name)


def test_python_of_the_bundle_is_run_only_if_it_is_trusted(copied, tmp_path, model, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    mark, code = tmp_path / "mark", "def width():\n    return 7\n"
    (copied / "more_parts.py").write_text(f"open({str(mark)!r}, 'w').close()\n{code}")
    with open(copied / "hyperparams.yaml", "a", encoding="utf-8") as file:
        file.write("width: !name:more_parts.width\n")
    load = FaceVoiceAssociation.from_hparams
    with pytest.raises(ValueError, match=r"pymodule_file: more_parts\.py would be run"):
        load(copied, pymodule_file="more_parts.py")
    for options in ({}, {"pymodule_file": "custom.py"}):
        with pytest.raises(ValueError, match="more_parts.width is not on the list"):
            load(copied, **options)
    assert not mark.exists()
    trusted = load(copied, pymodule_file="more_parts.py", trust_remote_code=True)
    assert mark.exists() and torch.equal(embeddings(trusted), embeddings(model))


@pytest.mark.parametrize("strategy", LocalStrategy)
def test_savedir_is_filled_as_the_strategy_says(strategy, bundle_folder, tmp_path):
    folder = tmp_path / "a" / "saved"
    options = {"savedir": folder, "local_strategy": strategy, "download_only": True}
    for _ in range(2):  # what is there already is no obstacle
        assert FaceVoiceAssociation.from_hparams(bundle_folder, **options) is None
    names = set() if strategy is LocalStrategy.NO_LINK else set(COLLECTED)
    assert {path.name for path in folder.iterdir()} == names
    assert all(path.is_symlink() == (strategy.name == "SYMLINK") for path in folder.iterdir())
    theirs = tmp_path / "theirs"
    pretrained_from_hparams(
        FaceVoiceAssociation, str(bundle_folder), **{**options, "savedir": theirs}
    )
    assert {path.name: path.is_symlink() for path in theirs.iterdir()} == {
        path.name: path.is_symlink() for path in folder.iterdir()
    }


def test_savedir_of_another_model_is_no_part_of_this_one(bundle_folder, copied, tmp_path):
    path = copied / "hyperparams.yaml"
    path.write_text(path.read_text().replace("resize: 36", "resize: 40"))
    load, folder = FaceVoiceAssociation.from_hparams, tmp_path / "saved"
    first = load(copied, savedir=folder)
    with pytest.raises(ValueError, match=r"hyperparams\.yaml: is of another model or version"):
        load(bundle_folder, savedir=folder)
    second = load(bundle_folder, savedir=folder, fetch_config=FetchConfig(overwrite=True))
    assert first.readers["face_reader"].resize == 40
    assert second.readers["face_reader"].resize == 36
    assert "resize: 40" in path.read_text()  # a link was replaced, not what it led to
    assert load(bundle_folder, savedir=bundle_folder).version == second.version


def test_sources_as_speechbrain_names_them(bundle_folder, model, tmp_path, monkeypatch):
    load = FaceVoiceAssociation.from_hparams
    local = FetchSource(FetchFrom.LOCAL, str(bundle_folder))
    assert load(local).version == model.version
    with pytest.raises(ValueError, match="no such folder"):
        load(FetchSource(FetchFrom.LOCAL, str(tmp_path / "nowhere")))
    with pytest.raises(ValueError, match="got an address"):
        load(FetchSource(FetchFrom.URI, "https://example.org/model"))
    asked = []
    monkeypatch.setattr(
        hub, "fetch_commit", lambda *arguments: asked.append(arguments) or bundle_folder
    )
    config = FetchConfig(token=True, revision="v1", huggingface_cache_dir="c", allow_network=False)
    remote = FetchSource(FetchFrom.HUGGING_FACE, "owner/small")
    assert load(remote, fetch_config=config).version == model.version
    load("owner/small", use_auth_token="hf_a", revision="v2", huggingface_cache_dir="d")
    assert asked == [
        ("owner/small", "c", "v1", None, [], False),
        ("owner/small", "d", "v2", "hf_a", [], True),
    ]


def test_what_savedir_holds_of_a_model_needs_no_hub(bundle_folder, model, tmp_path, monkeypatch):
    """The bundle is named owner/small; HF_HUB_OFFLINE keeps the tests from any hub."""
    folder = shutil.copytree(bundle_folder, tmp_path / "saved")
    calls = []

    def fetch(*arguments):
        calls.append(arguments)
        raise OSError("not reached")

    monkeypatch.setattr(hub, "fetch_commit", fetch)
    load = FaceVoiceAssociation.from_hparams
    assert load("owner/small", savedir=folder).version == model.version and not calls
    for source, options in (
        ("owner/other", {}),
        ("owner/small", {"revision": "v1"}),
        ("owner/small", {"fetch_config": FetchConfig(allow_updates=True)}),
    ):
        with pytest.raises(OSError, match="not reached"):
            load(source, savedir=folder, **options)
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError, match="not reached"):
        load("owner/small", savedir=folder)
    assert len(calls) == 4


def test_without_the_cache_only_savedir_is_filled(bundle_folder, tmp_path, monkeypatch):
    caches = []

    def fetch(repo, cache, *_):
        caches.append(shutil.copytree(bundle_folder, f"{cache}/{repo}"))
        return type(tmp_path)(caches[0])

    monkeypatch.setattr(hub, "fetch_commit", fetch)
    folder = tmp_path / "saved"
    found = collect("owner/small", folder, LocalStrategy.COPY_SKIP_CACHE, FetchConfig())
    assert found == folder and {path.name for path in folder.iterdir()} == set(COLLECTED)
    assert not type(tmp_path)(caches[0]).exists()
