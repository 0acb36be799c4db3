"""A folder's figures and its report.html: complete, honest about gaps, valid, and safe to open."""

import base64
import io
import json
import shutil
import subprocess

import html5lib
import numpy as np
import pandas as pd
import pytest
import soundfile
from speechbrain.utils.train_logger import FileTrainLogger, TensorboardLogger, WandBLogger

from speechbrain_fv.data.manifests import write_manifests
from speechbrain_fv.evaluation.embeddings import Embeddings, save_embeddings
from speechbrain_fv.evaluation.exact import evaluate, save_report
from speechbrain_fv.figures import plots
from speechbrain_fv.figures.loggers import log_figures
from speechbrain_fv.figures.report_tables import title as title_of
from speechbrain_fv.figures.run_figures import FIGURES, RunFigure, report_run
from speechbrain_fv.figures.run_files import RunFiles
from speechbrain_fv.files import write_table
from tests import processes
from tests.media import write_face, write_voice
from tests.processes import recipe

ATTACK = "<script>alert('x')</script>\"><img src=http://example.org onerror=alert(1)>\x01"
PEOPLE = [f"p{number:02d}" for number in range(8)]


def write_run(folder, people=PEOPLE):
    """Writes what a training leaves: two faces and two voices of each person, the last without."""
    rng = np.random.default_rng(0)
    clips = [(person, f"{person}_{clip}") for person in people for clip in range(2)]
    who, names = [person for person, _ in clips], [name for _, name in clips]
    vectors = rng.normal(size=(2, len(clips), 8))
    embeddings = Embeddings(*vectors, who, who, names, names)
    genders = ["f" if index % 2 else "m" for index in range(len(people))]
    metadata = pd.DataFrame({"identity": people, "gender": genders, "nationality": ATTACK})
    save_embeddings(folder / "embeddings_test.npz", embeddings)
    write_table(metadata, folder / "metadata_test.csv")
    roc = {"false_accept": [0.0, 0.1, 1.0], "true_accept": [0.0, 0.2, 1.0]}
    report = evaluate(embeddings, metadata)
    report["verification"]["U"]["roc"] = roc
    report["verification"]["U"]["auc_interval"] = [0.25, 0.75]
    save_report(folder / "report.json", report)
    write_manifest_folder(folder, names, who, metadata)
    (folder / "hyperparams.yaml").write_text(
        f"method: mine\nseed: 77\nx: !new:os.abort\nname: '{ATTACK[:10]}'\n"
    )
    steps = pd.DataFrame({"step": [1, 2], "epoch": 1, "value": [0.5, 0.25]})
    curves = [steps.assign(name=name) for name in ("L_id", "agreement_q8", "valid_auc_U")]
    np.savez(
        folder / "seen_clips.npz",
        faces=np.zeros((2, 8, 8, 3), np.uint8),
        voices=rng.integers(-999, 999, (2, 3200)).astype(np.int16),
        rate=16000,
        face_identity=people[:2],
        voice_identity=people[:2],
    )
    write_table(pd.concat(curves), folder / "train_curves.csv")
    return folder


def write_manifest_folder(folder, names, who, metadata, corpus="made up"):
    """Writes manifests whose test clips are real media; the other splits repeat one clip."""
    faces = [str(write_face(folder / f"media/{i}.jpg", i)) for i in range(len(names))]
    voices = [str(write_voice(folder / f"media/{i}.wav", 0.3, seed=i)) for i in range(len(names))]
    others = ["t", "v"]
    clips = {"ID": [*names, *others], "spk_id": [*who, *others]}
    times = {"duration": 0.3, "start": 0, "stop": 4800, "speech": ""}
    identities = pd.DataFrame({"identity": others, "split": ["train", "valid"]})
    identities = pd.concat([metadata.assign(split="test"), identities]).fillna("")
    excluded = {"path": "b.wav", "modality": "voice", "identity": "q", "reason": ATTACK}
    write_manifests(
        folder / "manifests",
        pd.DataFrame(clips | {"image": [*faces, *faces[:2]]}),
        pd.DataFrame(clips | {"wav": [*voices, *voices[:2]], **times}),
        identities,
        corpus,
        "key",
        {},
        pd.DataFrame([excluded]),
    )


def parsed(path):
    """Returns the tree of a file that must be HTML5 without a single parse error."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parse(path.read_text(encoding="utf-8"))


def texts(tree, tag):
    return [" ".join("".join(element.itertext()).split()) for element in tree.iter(tag)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A complete run, with its figures and its report."""
    folder = write_run(tmp_path_factory.mktemp("run"))
    figures, missing = report_run(folder)
    return folder, figures, missing


def test_a_complete_run_has_every_figure(run):
    folder, figures, missing = run
    assert [figure.name for figure in figures] == list(FIGURES)
    assert missing == {}
    for name in FIGURES:
        assert (folder / f"figures/{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert (folder / f"figures/{name}.pdf").read_bytes()[:4] == b"%PDF"
    captions = {figure.name: figure.caption for figure in figures}
    assert "no readable file" not in captions["retrieval_v2f"]
    assert "there is no embeddings_untrained.npz" in captions["embedding_map"]


def test_the_report_is_valid_and_holds_tables_figures_and_limits(run):
    folder, figures, _ = run
    tree = parsed(folder / "report.html")
    auc = json.loads((folder / "report.json").read_text())["verification"]["U"]["auc"]
    cells = texts(tree, "td")
    assert f"{100 * auc:.2f} [25.0, 75.0]" in cells
    assert tree.find(".//h1").text == "Face-voice matching: mine on made up"
    assert {"77", "made up", "8 identities, 16 faces, 16 voices"} <= {*cells}
    assert texts(tree, "caption")[:3] == [
        "What was run",
        "Verification",
        "Matching, F-V (face to voice)",
    ]
    headings = texts(tree, "h2")
    assert headings == [
        "Results", "Figures", "Within groups", "Data and leakage", "Undefined strata", "Limits",
        "Settings",
    ]  # fmt: skip
    assert "Files left out: 1; see manifests/excluded.csv" in texts(tree, "li")
    assert "verification/A: the metadata has no column 'age'" in texts(tree, "li")
    assert len(texts(tree, "figcaption")) == len(figures)
    assert any("biometric" in text for text in texts(tree, "p"))
    assert any(text.startswith("A stratum says") for text in texts(tree, "p"))
    of_class = {cell.get("class") for cell in tree.iter("td") if cell.text == "made up"}
    assert of_class == {None}
    (auc,) = (cell for cell in tree.iter("td") if "[25.0, 75.0]" in "".join(cell.itertext()))
    assert auc.get("class") == "number"


def test_voices_of_the_sheets_are_played_on_the_page(run):
    """Two of the contact sheet, five that ask, and five found for each of five faces."""
    tree = parsed(run[0] / "report.html")
    sounds = list(tree.iter("audio"))
    assert len(sounds) == 2 + 5 + 25
    for sound in sounds:
        kind, content = sound.get("src").split(";base64,")
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(content)))
        assert kind == "data:audio/mpeg" and rate == 16000
        assert 0 < np.sqrt(np.mean(samples**2)) < 0.2 and len(samples) < 16000


@pytest.mark.parametrize(
    ("corpus", "shuffled", "words", "line"),
    [
        ("embedded", False, "bipcm_fst on embedded (invented people)", "A program drew"),
        ("embedded", True, "bipcm_fst on embedded (invented people)", "somebody else here"),
        (
            "embedded+mine",
            False,
            "bipcm_fst on embedded+mine (some people invented)",
            "Some people",
        ),
        ("mavceleb_v1", False, "bipcm_fst on mavceleb_v1 (real people)", None),
        ("own_data", False, "bipcm_fst on own_data", None),
    ],
)
def test_the_title_says_whether_the_people_are_invented(tmp_path, corpus, shuffled, words, line):
    (tmp_path / "manifests").mkdir()
    preparation = {"corpus": corpus, "options": {"shuffle_voices": shuffled}}
    (tmp_path / "manifests/preparation.json").write_text(json.dumps(preparation))
    (tmp_path / "hyperparams.yaml").write_text("method: bipcm_fst\n")
    title, about = title_of(RunFiles(tmp_path))
    assert title == f"Face-voice matching: {words}"
    assert line in about if line else about == ""


def test_the_report_needs_no_network_and_is_accessible(run):
    tree = parsed(run[0] / "report.html")
    assert tree.get("lang") == "en"
    assert not list(tree.iter("script"))
    for element in tree.iter():
        assert not any(name.startswith("on") for name in element.attrib)
        for name in ("src", "href"):
            assert element.get(name, "data:").startswith("data:")
    images = list(tree.iter("img"))
    assert len(images) == len(FIGURES)
    for image in images:
        assert len(image.get("alt")) > 20 and int(image.get("width")) > 100
    assert all(header.get("scope") in ("col", "row") for header in tree.iter("th"))
    policies = [element.get("content") for element in tree.iter("meta")]
    assert (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'" in policies
    )


def test_text_of_others_stays_text(run):
    """Nationality, reason and hyperparameters hold markup: it is shown, not obeyed."""
    tree = parsed(run[0] / "report.html")
    shown = ATTACK.replace("\x01", "\ufffd")
    assert shown in texts(tree, "th")
    assert f"voice, {shown}: 1" in texts(tree, "li")
    assert "name: '<script>al'" in texts(tree, "pre")[0]


def test_clip_names_may_be_anything(tmp_path):
    names = [f"{ATTACK}$^{index}" for index in range(4)]
    embeddings = Embeddings(np.eye(4), np.eye(4), names, names, names, names)
    save_embeddings(tmp_path / "embeddings_test.npz", embeddings)
    reasons = {f"verification/{ATTACK}": ATTACK}
    (tmp_path / "report.json").write_text(json.dumps({"reasons": reasons}))
    figures, _ = report_run(tmp_path)
    assert {"retrieval_v2f", "retrieval_f2v", "embedding_map"} <= {f.name for f in figures}
    tree = parsed(tmp_path / "report.html")
    assert not list(tree.iter("script")) and len(list(tree.iter("img"))) == len(figures)
    shown = ATTACK.replace("\x01", "\ufffd")
    assert any(shown in text for text in texts(tree, "li"))


def test_vectors_without_media_are_named_and_counted(tmp_path, run):
    for name in ("embeddings_test.npz", "metadata_test.csv"):
        shutil.copy(run[0] / name, tmp_path)
    figures, missing = report_run(tmp_path)
    captions = {figure.name: figure.caption for figure in figures}
    assert "30 of 30 clips have no readable file: named instead." in captions["retrieval_f2v"]
    assert missing == {
        "1:N matching": "there is no report.json",
        "Verification": "there is no report.json",
        "ROC curves": "there is no report.json",
        "What the model sees": "there is no seen_clips.npz",
        "Training": "there is no train_curves.csv",
        "Label agreement": "there is no train_curves.csv",
    }
    assert "Training: there is no train_curves.csv" in texts(parsed(tmp_path / "report.html"), "li")


def test_untrained_embeddings_of_the_same_clips_make_a_second_map(tmp_path, run):
    for name in ("embeddings_test.npz", "metadata_test.csv"):
        shutil.copy(run[0] / name, tmp_path)
    after = RunFiles(tmp_path).embeddings
    before = Embeddings(**{**vars(after), "face": after.face[::-1]})
    save_embeddings(tmp_path / "embeddings_untrained.npz", before)
    figure, caption = FIGURES["embedding_map"][2](RunFiles(tmp_path))
    assert [axes.get_title() for axes in figure.axes] == ["before training", "after training"]
    assert "no map" not in caption
    renamed = Embeddings(**{**vars(after), "face_id": after.face_id[::-1]})
    save_embeddings(tmp_path / "embeddings_untrained.npz", renamed)
    figure, caption = FIGURES["embedding_map"][2](RunFiles(tmp_path))
    assert [axes.get_title() for axes in figure.axes] == ["test embeddings"]
    assert "no map from before training: embeddings_untrained.npz holds other clips." in caption


def test_other_tasks_lists_and_leakage_are_shown(tmp_path):
    verification = {"kind": "verification", "auc": 0.5, "eer": None}
    matching = {"kind": "matching", "accuracy": {"2": {"accuracy": 0.75, "chance": 0.5}}}
    retrieval = {"kind": "retrieval", "map": 0.02, "chance_map": 0.01}
    facts = {"num_rows": [10, 2000], "num_unresolved_rows": 1, "as_published": True}
    part = {"num_leaked_identities": 1, "num_identities": 2}
    part |= {"num_leaked_pairs": 3, "num_pairs": 4}
    report = {
        "verification": {"U": {"auc": 0.5, "eer": 0.5}, "G": None},
        "lists": {"v": verification | facts, "m": matching | facts, "r": retrieval | facts},
        "leakage": {"checked": True, "identities": ["ann"], "parts": {"embeddings": part}},
    }
    report["lists"]["m"] |= {"as_published": False, "published_num_rows": [11]}
    (tmp_path / "report.json").write_text(json.dumps(report))
    report_run(tmp_path)
    tree = parsed(tmp_path / "report.html")
    rows = ["".join(f"{text}|" for text in row.itertext()) for row in tree.iter("tr")]
    assert "v|AUC|50.00|50.00|10 x 2,000|1|" in rows and "v|EER|-|50.00|10 x 2,000|1|" in rows
    assert "m|1:2|75.00|50.00|10 x 2,000 (published: 11)|1|" in rows
    assert "r|mAP|2.00|1.00|10 x 2,000|1|" in rows
    assert "G|-|-|-|-|" in rows
    items = texts(tree, "li")
    assert "Leakage: 1 people of the test were trained on" in items
    assert "Leakage, embeddings: 1 of 2 identities, 3 of 4 pairs" in items


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"best_valid_auc": 0.75}, "validation AUC 75.00 %"),
        (
            {"best_valid_auc": None, "monitor": "matching/V-F/U/2/accuracy", "best_valid": 0.5},
            "validation matching/V-F/U/2/accuracy 50.00 %",
        ),
    ],
)
def test_the_value_that_chose_the_epoch_is_shown(tmp_path, training, words):
    training |= {"num_steps": 80, "num_epochs": 4, "best_epoch": 3}
    report = {"verification": {"U": {"auc": 0.5, "eer": 0.5}}, "training": training}
    (tmp_path / "report.json").write_text(json.dumps(report))
    report_run(tmp_path)
    assert f"80 steps, 4 epochs; best is epoch 3 ({words})" in texts(
        parsed(tmp_path / "report.html"), "td"
    )


def test_folders_without_anything_to_draw_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no such folder; name the output folder"):
        report_run(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"nothing to draw: there is no embeddings_test.npz"):
        report_run(tmp_path)
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(ValueError, match=r"report.json cannot be read"):
        report_run(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_the_script_says_what_is_drawn_and_what_is_not(tmp_path, run):
    shutil.copy(run[0] / "train_curves.csv", tmp_path)
    done = processes.run(recipe("figures", tmp_path, f"--output_folder={tmp_path / 'out'}"))
    assert done.returncode == 0, done.stderr
    assert f"Training: {tmp_path}/out/figures/training.png" in done.stdout
    assert "Verification: not drawn, there is no report.json" in done.stdout
    assert (tmp_path / "out/report.html").is_file()


@pytest.mark.skipif(
    not (shutil.which("chromium") or shutil.which("google-chrome")), reason="no browser is here"
)
def test_a_browser_shows_every_figure_and_a_phone_cuts_nothing_off(run):
    """The pictures have a size once the page is laid out, so they were decoded."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    page = run[0] / "report.html"
    probe = page.with_name("probe.html")
    script = (
        "<script>onload=()=>{document.documentElement.style.width='390px';"
        "document.title=[...document.images].map(i=>i.naturalWidth)+'|'+[...document"
        ".querySelectorAll('.wide')].filter(e=>e.scrollWidth>e.clientWidth).length}</script>"
    )
    text = page.read_text(encoding="utf-8").replace(
        "default-src 'none'", "script-src 'unsafe-inline'"
    )
    probe.write_text(text.replace("</body>", f"{script}</body>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    options += ["--window-size=500,800"]  # the narrowest that there is
    command = [browser, *options, f"--user-data-dir={page.with_name('profile')}", probe.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    sizes, cut_off = dom.split("<title>")[1].split("</title>")[0].split("|")
    sizes = sizes.split(",")
    assert cut_off == "0"
    assert len(sizes) == len(FIGURES) and min(map(int, sizes)) > 100


def drawn(folder):
    """Returns one figure as `report_run` does."""
    curves = pd.DataFrame({"step": [1, 2], "name": "L_id", "value": [2.0, 1.5]})
    curves.to_csv(folder / "train_curves.csv", index=False)
    paths = plots.plot_training(folder / "train_curves.csv", folder)
    return [RunFigure("training", "Training", "Line chart.", "Losses.", paths)]


def test_tensorboard_receives_the_figures(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorboardLogger(str(tmp_path / "logs"))
    log_figures(logger, drawn(tmp_path))
    logger.writer.close()
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    (image,) = events.Images("figures/training")
    assert image.width == 1440


def test_wandb_receives_the_figures(tmp_path):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    logger = WandBLogger(wandb.init, mode="offline", dir=str(tmp_path), project="test")
    log_figures(logger, drawn(tmp_path))
    logger.run.finish()
    assert list(tmp_path.rglob("media/images/figures/training*.png"))


def test_other_loggers_are_left_alone(tmp_path):
    log_figures(FileTrainLogger(str(tmp_path / "log.txt")), drawn(tmp_path))
    assert not (tmp_path / "log.txt").exists()
