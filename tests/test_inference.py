"""The pretrained interface on a real small model: tensors, files, verdicts and rankings."""

import io
import logging
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from PIL import Image
from speechbrain.utils.run_opts import RunOptions
from torchvision.io import ImageReadMode, decode_image

from speechbrain_fv.inference import FaceVoiceAssociation
from speechbrain_fv.media.vad import remove_silence
from speechbrain_fv.publish.check import compare
from speechbrain_fv.search import Gallery
from tests.media import vowels, write_face, write_voice


@pytest.fixture(scope="module")
def model(bundle_folder):
    return FaceVoiceAssociation.from_hparams(bundle_folder)


@pytest.fixture(scope="module")
def files(media_run):
    """Paths of six faces and six voices of the test split."""
    tables = [pd.read_csv(media_run / "manifests" / f"{name}_test.csv") for name in TABLES]
    return [
        table[column].tolist()[:12:2] for table, column in zip(tables, TABLES.values(), strict=True)
    ]


TABLES = {"faces": "image", "voices": "wav"}


def images(num_images=5, height=50, width=40):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (num_images, 3, height, width), generator=generator).to(
        torch.uint8
    )


def waveforms(num_clips=5, num_samples=20000):
    return 0.1 * torch.randn(num_clips, num_samples, generator=torch.Generator().manual_seed(0))


def test_files_give_the_embeddings_of_the_training(bundle_folder, media_run):
    differences = compare(bundle_folder, media_run, "cpu")
    assert differences["face"] < 1e-6 and differences["voice"] < 1e-6
    assert differences["num_faces"] == differences["num_voices"] == 20


def test_images_are_the_same_alone_in_a_batch_as_floats_and_as_pil(model):
    pixels = images()
    together = model.encode_face(pixels)
    assert together.shape == (5, model.embedding_dim) and together.dtype == torch.float32
    assert not together.requires_grad
    alone = torch.cat([model.encode_face(image) for image in pixels])
    pil = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in pixels]
    for other in (
        alone,
        model.encode_face(pixels, batch_size=2),
        model.encode_face(pixels.float() / 255),
        model.encode_face(list(pixels)),
        model.encode_face(pil),
    ):
        torch.testing.assert_close(other, together, rtol=0, atol=2e-6)


def test_padding_behind_a_clip_changes_nothing(model):
    wavs, lens = waveforms(), torch.tensor([1.0, 0.5, 0.9, 0.05, 0.77])
    together = model.encode_voice(wavs, lens)
    cut = [wav[: round(20000 * float(part))] for wav, part in zip(wavs, lens, strict=True)]
    alone = torch.cat([model.encode_voice(wav) for wav in cut])
    torch.testing.assert_close(alone, together, rtol=0, atol=2e-6)
    padded = wavs.clone()
    padded[1, 10000:] = float("nan")
    torch.testing.assert_close(model.encode_voice(padded, lens), together, rtol=0, atol=2e-6)
    torch.testing.assert_close(model.encode_voice(wavs, lens, 2), together, rtol=0, atol=2e-6)


def test_verify_gives_cosine_probability_and_the_decision_at_the_threshold(model, monkeypatch):
    faces, voices = model.encode_face(images()), model.encode_voice(waveforms())
    score, probability, decision = model.verify(images(), waveforms())
    unit = [x.numpy() / np.linalg.norm(x.numpy(), axis=1, keepdims=True) for x in (faces, voices)]
    np.testing.assert_allclose(score, (unit[0] * unit[1]).sum(axis=1), atol=1e-6)
    fitted = model.config["calibration"]
    odds = fitted["slope"] * score + fitted["intercept"]
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-odds)), atol=1e-6)
    assert decision.tolist() == [value >= fitted["threshold"] for value in score]
    assert torch.equal(model.verify(faces, voices).score, score)
    monkeypatch.setattr(model, "threshold", score[0].item())  # who reaches it passes
    assert model.verify(faces[0], voices[0]).decision.tolist() == [True]
    assert model.verify(faces[0], voices[0]).score.shape == (1,)


def test_match_ranks_every_candidate_and_takes_probes_one_by_one_or_together(model):
    faces, voices = images(), waveforms()
    scores = model.verify(
        model.encode_face(faces).repeat_interleave(5, 0), model.encode_voice(voices).repeat(5, 1)
    ).score.view(5, 5)
    for found, expected in (
        (model.match(faces[1], voices), scores[1]),
        (model.match(voices[2], faces), scores[:, 2]),
        (model.match(voices, model.encode_face(faces)), scores.T),
        (model.match(model.encode_face(faces)[1], model.encode_voice(voices)), scores[1]),
    ):
        assert found.indices.shape == found.scores.shape == expected.shape
        torch.testing.assert_close(found.scores, expected.gather(-1, found.indices))
        assert (found.scores.diff(dim=-1) <= 0).all()
        assert (found.indices.sort(dim=-1).values == torch.arange(5)).all()


def test_equal_candidates_keep_their_order(model):
    face = model.encode_face(images())[0]
    ranking = model.match(waveforms(1)[0], face.expand(7, -1))
    assert ranking.indices.tolist() == list(range(7))


def test_files_verify_and_match_as_their_content_does(model, files):
    faces, voices = files
    pixels = [decode_image(path, ImageReadMode.RGB) for path in faces]
    samples = [torch.from_numpy(soundfile.read(path, dtype="float32")[0]) for path in voices]
    score = model.verify_files(faces, voices).score
    encoded = torch.cat([model.encode_voice(wav) for wav in samples])
    torch.testing.assert_close(score, model.verify(pixels, encoded).score, rtol=0, atol=1e-5)
    by_voice = model.match_files(voices[0], faces)
    expected = model.match(encoded[0], pixels)
    assert by_voice.indices.tolist() == expected.indices.tolist()
    by_face = model.match_files(faces[0], voices)
    assert by_face.indices.tolist() == model.match(pixels[0], encoded).indices.tolist()
    one = model.verify_files(faces[0], voices[0])
    assert list(map(type, one)) == [float, float, bool]
    assert one.score == pytest.approx(score[0].item(), abs=1e-5)
    assert by_face.files == [str(voices[index]) for index in by_face.indices]


def test_bytes_and_open_files_are_files(model, files, tmp_path):
    face, other, voice = map(Path, (*files[0][:2], files[1][0]))
    expected = model.match_files(voice, [face, other])
    with open(face, "rb") as opened, open(voice, "rb") as sound:
        found = model.match_files(sound, [opened, other.read_bytes()])
    torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=1e-5)
    names = [str(face), "bytes 1"]
    assert found.files == [names[index] for index in expected.indices]
    pair = io.BytesIO(face.read_bytes()), io.BytesIO(voice.read_bytes())
    assert model.verify_files(*pair).score == pytest.approx(
        model.verify_files(face, voice).score, abs=1e-5
    )
    with pytest.raises(ValueError, match="^bytes 1: the open file has been read to its end"):
        model.verify_files(*pair)
    with pytest.raises(ValueError, match="^bytes 1: empty file"):
        model.verify_files(io.BytesIO(), voice)
    with open(face) as text, pytest.raises(ValueError, match="opened as text; open it with .*rb"):
        model.encode_face_files(text)
    with pytest.raises(ValueError, match="cannot be read .*closed"):
        model.encode_face_files(opened)
    people = model.encode_people_files("face", [[face.read_bytes(), other.read_bytes()]])
    assert people.num_clips == [2]


def test_one_broken_file_costs_itself_alone(model, files, caplog):
    """Alike in every call that takes files; the result or a warning names it."""
    face, other, voice = map(Path, (*files[0][:2], files[1][0]))
    broken = b"no media"
    alone = model.verify_files([face, other], [voice, voice])
    found = model.verify_files([face, broken, other], [voice] * 3, on_error="skip")
    assert (
        found.score.isnan().tolist() == found.probability.isnan().tolist() == [False, True, False]
    )
    torch.testing.assert_close(found.score[[0, 2]], alone.score, rtol=0, atol=1e-5)
    assert found.decision.tolist() == [alone.decision[0], False, alone.decision[1]]
    assert [name for name, _ in found.skipped] == ["bytes 1"]
    ranking = model.match_files(voice, [broken, face, other], on_error="skip")
    assert sorted(ranking.indices.tolist()) == [1, 2] and "bytes 1" not in ranking.files
    assert [name for name, _ in ranking.skipped] == ["bytes 1"]
    found = model.encode_people_files("face", [broken, [face, broken]], on_error="skip")
    assert (found.kept, found.num_clips) == ([1], [1])
    caplog.clear()
    assert len(model.encode_face_files([broken, face], on_error="skip")) == 1
    assert len(model.encode_voice_files([broken, voice], on_error="skip")) == 1
    assert caplog.text.count("left out: bytes 1: no") == 2
    assert not model.match_files(voice, [face]).skipped
    for call in (
        lambda on_error: model.encode_face_files(broken, on_error=on_error),
        lambda on_error: model.encode_people_files("face", [face], on_error=on_error),
        lambda on_error: model.match_files(voice, [face], on_error=on_error),
    ):
        with pytest.raises(ValueError, match="on_error: expected raise or skip, got 'ignore'"):
            call("ignore")
    for call in (model.verify_files, model.match_files):
        with pytest.raises(ValueError, match="bytes 1: no"):
            call([broken] if call == model.verify_files else voice, [broken])
    with pytest.raises(ValueError, match="no file of the candidates can be .* bytes 1"):
        model.match_files(voice, [broken], on_error="skip")
    with pytest.raises(ValueError, match="no pair can be used; the first file: bytes 1"):
        model.verify_files([face, broken], [broken, voice], on_error="skip")


def test_any_iterable_lists_files(model, files):
    faces, voice = list(map(Path, files[0][:2])), Path(files[1][0])
    expected = model.verify_files(faces, [voice, voice])
    for listed in (iter(faces), np.array(list(map(str, faces))), pd.Series(map(str, faces))):
        found = model.verify_files(listed, (file for file in (voice, voice)))
        assert torch.equal(found.score, expected.score)
    assert model.match_files(voice, iter(faces)).files == model.match_files(voice, faces).files
    assert model.encode_people_files("face", [iter(faces)]).num_clips == [2]
    assert model.encode_people_files("face", faces[0]).num_clips == [1]
    assert [field.shape for field in model.verify_files([], iter([]))] == [(0,)] * 3


def test_what_cannot_be_opened_is_skipped_as_what_cannot_be_decoded(model, files, tmp_path):
    """Wherever it stands in the list, in a probe, or as a folder without a photo."""
    face, other, voice = map(Path, (*files[0][:2], files[1][0]))
    with open(face, "rb") as closed:
        pass
    for place, kept in ((0, [1, 2]), (1, [0, 2]), (2, [0, 1])):
        faces = [face, other]
        faces.insert(place, closed)
        found = model.verify_files(faces, [voice] * 3, on_error="skip")
        assert found.score.isfinite().nonzero().flatten().tolist() == kept
        assert "the open file cannot be read (" in found.skipped[0][1]
        assert sorted(model.match_files(voice, faces, on_error="skip").indices.tolist()) == kept
    found = model.verify_files([face, b"", other], [voice, voice, b""], on_error="skip")
    assert found.score.isfinite().tolist() == [True, False, False]
    assert [name for name, _ in found.skipped] == ["bytes 1", "bytes 2"]
    probed = model.match_files([closed, face], [voice], on_error="skip")
    assert probed.skipped[0][0] == str(face) + " 2"  # the name of another file of the call
    torch.testing.assert_close(probed.scores, model.match_files(face, [voice]).scores)
    people = model.encode_people_files("face", [tmp_path, [], face], on_error="skip")
    assert people.kept == [2]
    with pytest.raises(ValueError, match="no image in this folder"):
        model.encode_people_files("face", [tmp_path, face])


def test_face_and_voice_in_each_others_place_are_told(model, files):
    """By content: names tell nothing of bytes."""
    face, voice = Path(files[0][0]), Path(files[1][0])
    for on_error in ("raise", "skip"):
        with pytest.raises(ValueError, match="a recording, expected an image .* swapped"):
            model.verify_files(voice.read_bytes(), face.read_bytes(), on_error=on_error)
    with pytest.raises(ValueError, match="an image, expected a recording .* swapped"):
        model.match_files(face, [face])
    with pytest.raises(ValueError, match="give the face first"):
        model.verify(waveforms(), images())


def test_a_model_prints_in_five_lines(model):
    first, *more = str(model).splitlines()
    assert first == f"FaceVoiceAssociation owner/small. {model.config['caution']}"
    assert len(more) == 4 and f"{model.threshold:.3f}" in more[2] and "%" in more[2]


@pytest.mark.parametrize("suffix", ["ogg", "mp3"])
def test_a_phones_recording_is_near_the_one_it_was_made_from(
    suffix, model, files, tmp_path, caplog
):
    """8 kHz loses the upper half of the band, so near is what can be asked."""
    samples, rate = soundfile.read(files[1][0])
    assert rate == 16000
    stereo = np.stack([samples[::2], samples[::2]], axis=1)
    soundfile.write(tmp_path / f"phone.{suffix}", stereo, 8000)
    with caplog.at_level(logging.WARNING):
        found = model.encode_voice_files(tmp_path / f"phone.{suffix}")
    assert "8000 Hz" in caplog.text and "2 channels" in caplog.text
    original, other = model.encode_voice_files(files[1][:1] + files[1][-1:])
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(found[0], original, dim=0) > cosine(found[0], other, dim=0)


def test_a_large_rotated_photo_is_read_upright(model, files, tmp_path):
    image = Image.open(files[0][0]).resize((3000, 4000)).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    image.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    small = Image.open(files[0][0]).resize((3000, 4000))
    small.save(tmp_path / "upright.png")
    found, expected = model.encode_face_files([tmp_path / "photo.jpg", tmp_path / "upright.png"])
    assert (found - expected).abs().max() < 0.2
    assert torch.nn.functional.cosine_similarity(found, expected, dim=0) > 0.98


def test_broken_files_stop_the_work_or_are_listed(model, files, tmp_path, monkeypatch):
    broken = tmp_path / "broken.jpg"
    broken.write_text("no picture")
    paths = [files[0][0], broken, tmp_path / "missing.png", files[0][1]]
    with pytest.raises(ValueError, match=r"broken\.jpg"):
        model.encode_face_files(paths)
    skipped = []
    found = model.encode_face_files(paths, skipped=skipped)
    assert torch.allclose(found, model.encode_face_files([files[0][0], files[0][1]]), atol=2e-6)
    assert [path for path, _ in skipped] == [str(broken), str(tmp_path / "missing.png")]
    assert model.encode_voice_files([]).shape == (0, model.embedding_dim)
    # What the system refuses to open stopped the work, though it was to be listed. Root may all.
    may, closed = os.access, os.fspath(files[1][0])
    monkeypatch.setattr(os, "access", lambda path, mode: path != closed and may(path, mode))
    assert len(model.encode_voice_files(files[1][:2], skipped=skipped)) == 1
    assert skipped[2] == (closed, f"{closed}: may not be read; check its permissions")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.zeros(2, 4, 8, 8, dtype=torch.uint8), r"shape \(3, H, W\)"),
        (torch.zeros(3, 0, 8, dtype=torch.uint8), r"shape \(3, H, W\)"),
        (torch.full((1, 3, 8, 8), 255.0), r"\[0, 1\]"),
        (torch.full((1, 3, 8, 8), float("nan")), r"\[0, 1\]"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), "int64"),
        (["face.jpg"], "encode_face_files"),
        ([np.zeros((8, 8, 3), np.uint8)], "ndarray"),
        ([torch.zeros(2, 3, 8, 8, dtype=torch.uint8)], r"\(3, H, W\), got \(2, 3, 8, 8\)"),
    ],
)
def test_images_of_another_kind_are_refused(model, given, message):
    with pytest.raises(ValueError, match=message):
        model.encode_face(given)


@pytest.mark.parametrize(
    ("wavs", "lens", "message"),
    [
        (torch.zeros(2, 900), None, "clip 0 is silent"),
        (torch.ones(2, 900, dtype=torch.int16), None, "floats"),
        (torch.ones(2, 0), None, "shape"),
        (torch.ones(2, 3, 900), None, "shape"),
        ([torch.ones(900)], None, "tensor of floats"),
        (torch.ones(2, 900).index_fill(0, torch.tensor(1), torch.inf), None, "clip 1 holds NaN"),
        (torch.ones(2, 900), torch.tensor([1.0]), "wav_lens"),
        (torch.ones(2, 900), torch.tensor([1.0, 0.0]), "wav_lens"),
        (torch.ones(2, 900), torch.tensor([1.0, 1.5]), "wav_lens"),
        (torch.ones(1, 900), torch.tensor([float("nan")]), "wav_lens"),
        (torch.ones(1, 900), 0.5, r"wav_lens: expected 1 relative lengths in \(0, 1\], got 0.5"),
        (torch.ones(1, 900), "all", "wav_lens: expected 1 .* got 'all'"),
        (np.array(["a", "b"]), None, "tensor of floats.*got <U1"),
        (np.array([None]), None, "tensor of floats.*got object"),
    ],
)
def test_waveforms_of_another_kind_are_refused(model, wavs, lens, message):
    with pytest.raises(ValueError, match=message):
        model.encode_voice(wavs, lens)


def test_arrays_of_any_layout_are_waveforms(model):
    """torch takes no array that runs backwards, of another byte order or of more than 64 bits."""
    samples = waveforms(1)[0].numpy()
    expected = model.encode_voice(samples)
    for given in (samples[::-1].copy()[::-1], samples.astype(">f4"), samples.astype(np.longdouble)):
        torch.testing.assert_close(model.encode_voice(given), expected, rtol=0, atol=2e-6)


def test_pairs_and_directions_are_checked(model, files):
    with pytest.raises(ValueError, match="as many faces as voices, got 5 and 2"):
        model.verify(images(), waveforms(2))
    with pytest.raises(ValueError, match="got a face and faces"):
        model.match(images()[0], images())
    with pytest.raises(ValueError, match="got a voice and voices"):
        model.match(waveforms()[0], waveforms())
    with pytest.raises(ValueError, match="NaN"):
        model.verify(torch.full((1, model.embedding_dim), float("nan")), waveforms(1))


def test_nothing_is_embedded_only_by_mistake(model):
    """An empty list gave an empty result, and so did a batch size of 0, whatever the images."""
    with pytest.raises(ValueError, match="at least one, got an empty list"):
        model.encode_face([])
    for candidates in ([], torch.empty(0, model.embedding_dim)):
        with pytest.raises(ValueError, match="at least one candidate"):
            model.match(waveforms()[0], candidates)
    for batch_size in (0, -1, 1.5, None, True):
        with pytest.raises(ValueError, match="batch_size: expected a whole number above 0"):
            model.encode_face(images(), batch_size)


@pytest.mark.parametrize(
    ("wavs", "message"),
    [
        (torch.randn(20000, 2), r"clip 0 is shorter than 0.05 s.*the shape is \(20000, 2\)"),
        (32767 * waveforms().clamp(-1, 1).round(decimals=2), "clip 0 exceeds 8"),
        (1e-5 * waveforms(), "clip 0 is silent, below -60 dB"),
        (None, "tensor of floats.*NoneType"),
        ("voice.wav", "str; encode_voice_files"),
    ],
)
def test_what_is_no_waveform_is_not_taken_for_one(model, wavs, message):
    """(samples, channels) gave an embedding per sample, integers stored as floats an embedding."""
    with pytest.raises(ValueError, match=message):
        model.encode_voice(wavs)


def test_arrays_and_lists_are_embeddings_too(model):
    """An array of embeddings was taken for waveforms of K samples, and encoded once more."""
    face, voice = model.encode_face(images()), model.encode_voice(waveforms())
    expected, ranking = model.verify(face, voice), model.match(face[0], voice)
    for given in (lambda vectors: vectors.numpy(), list, lambda vectors: list(vectors.numpy())):
        assert torch.equal(model.verify(given(face), given(voice)).score, expected.score)
        assert torch.equal(model.match(face[0], given(voice)).indices, ranking.indices)
    assert model.match(waveforms()[0].numpy(), face).indices.shape == (5,)
    for given, message in (
        (face.long(), "floats, got torch.int64"),
        (0 * face, "zero and has no direction"),
    ):
        with pytest.raises(ValueError, match=message):
            model.verify(given, voice)
    for given in (None, "voice.wav", iter(face)):
        with pytest.raises(ValueError, match="match_files and verify_files"):
            model.match(given, face)
        with pytest.raises(ValueError, match="match_files and verify_files"):
            model.match(voice[0], given)


def test_what_the_encoders_return_of_one_clip_can_be_listed(model):
    """A list of embeddings (1, K) was taken for images or waveforms; one picture had no length."""
    face, voice = model.encode_face(images()), model.encode_voice(waveforms())
    listed = [model.encode_face(image) for image in images()]
    expected = model.match(voice[0], face)
    for given in (listed, [embedding.numpy() for embedding in listed]):
        found = model.match(voice[0], given)
        assert found.indices.tolist() == expected.indices.tolist()
        torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=1e-5)
    assert model.verify(listed, voice).score.shape == (5,)
    picture = Image.fromarray(images()[0].permute(1, 2, 0).numpy())
    found = model.match(voice[0], picture)
    torch.testing.assert_close(found.scores, model.verify(face[:1], voice[:1]).score)


def test_scores_stand_any_length_and_autocasting(model):
    """Cosines of embeddings times 1e30 were 0; under autocast rankings had three digits."""
    face, voice = model.encode_face(images()), model.encode_voice(waveforms())
    score, ranking = model.verify(face, voice).score, model.match(face, voice)
    reference = torch.nn.functional.cosine_similarity(face.double(), voice.double()).float()
    torch.testing.assert_close(score, reference, rtol=0, atol=1e-6)
    for scale in (1e-30, 1e30):
        torch.testing.assert_close(model.verify(scale * face, voice).score, score)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.match(face, voice).scores, ranking.scores)


def test_paths_that_are_none_are_refused(model, files):
    for paths in (None, 5, [None], images()):
        with pytest.raises(ValueError, match="expected the path of a file, got"):
            model.encode_face_files(paths)
    with pytest.raises(ValueError, match="expected the path of a file, got int"):
        model.match_files([files[0][0]], [*files[1], 5])


def test_a_recording_that_is_silent_where_the_model_listens_is_told(model, tmp_path, caplog):
    """Speech, a long pause, speech: the middle, which alone is heard, gave an embedding of
    nothing, without a word."""
    voice, pause = waveforms(1, 20000)[0].numpy(), np.zeros(160000, np.float32)
    soundfile.write(tmp_path / "pause.wav", np.concatenate([voice, pause, voice]), 16000)
    soundfile.write(tmp_path / "voice.wav", voice, 16000)
    caplog.set_level(logging.WARNING, "speechbrain_fv")
    model.encode_voice_files([tmp_path / "pause.wav", tmp_path / "voice.wav"])
    assert [r.getMessage()[:23] for r in caplog.records if "silent" in r.msg % r.args] == [
        "1 of 2 files: the middl"
    ]


def test_silence_is_removed_where_it_was_in_training_or_is_asked_for(
    model, files, tmp_path, monkeypatch
):
    """Of a file at another rate; a pause in its middle is all that the model would hear else."""
    faces, path = files[0], tmp_path / "pause.wav"
    pause = 0.01 * np.random.default_rng(0).normal(size=20000)
    soundfile.write(path, np.concatenate([vowels(2.0, 8000), pause, vowels(2.5, 8000, 1)]), 8000)
    samples = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
    speech = remove_silence(samples, 8000)
    assert len(speech) < 40000
    reader = model.readers["voice_reader"]
    removed, kept = (model.encode_voice(reader.window(x, 8000)) for x in (speech, samples))
    faces = model.encode_face_files(faces)
    expected = {True: model.match(removed[0], faces), False: model.match(kept[0], faces)}
    assert (expected[True].scores - expected[False].scores).abs().max() > 1e-4
    for trained, asked in ((True, None), (False, None), (True, False), (False, True)):
        monkeypatch.setitem(model.config, "remove_silence", trained)
        ranking = expected[trained if asked is None else asked]
        best = files[0][ranking.indices[0]]
        for score in (
            model.match(model.encode_voice_files(path, asked)[0], faces).scores[:1],
            model.verify_files(best, path, remove_silence=asked).score,
            model.match_files(path, files[0], remove_silence=asked).scores[:1],
            model.match_files(best, [path], remove_silence=asked).scores,
        ):
            found = torch.as_tensor(score).reshape(1)
            torch.testing.assert_close(found, ranking.scores[:1], rtol=0, atol=1e-5)


def test_the_callers_defaults_of_torch_are_theirs(bundle_folder, model, tmp_path):
    """On another default device loading, voices, files that are resampled and galleries failed;
    float64 failed in SpeechBrain."""
    face, voice = model.encode_face(images()), model.encode_voice(waveforms())
    pixels, wavs = images(), waveforms()
    phone, photo = write_voice(tmp_path / "phone.wav", rate=8000), write_face(tmp_path / "a.png")
    score, gallery = model.verify_files(photo, phone).score, Gallery.from_embeddings(model, face)
    hits = gallery.query_voice(voice)
    with torch.device("meta"):  # where no value can be read
        assert model.verify_files(photo, phone).score == score
        assert gallery.query_voice(voice).ids == hits.ids
        other = FaceVoiceAssociation.from_hparams(bundle_folder)
        assert torch.equal(other.encode_face(pixels), face)
        assert torch.equal(other.encode_voice(wavs), voice)
    torch.set_default_dtype(torch.float64)
    try:
        for call in (
            lambda: FaceVoiceAssociation.from_hparams(bundle_folder),
            lambda: model.encode_voice(wavs),
        ):
            with pytest.raises(ValueError, match="default type is torch.float64"):
                call()
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_device_follows_the_weights(bundle_folder):
    options = {"device": torch.device("cpu")}  # SpeechBrain takes text only
    model = FaceVoiceAssociation.from_hparams(bundle_folder, run_opts=options)
    assert model.device == "cpu"
    assert model.to("meta").device == "meta"


def test_a_device_that_is_not_there_is_one_error(bundle_folder):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match="device 'cuda:0' cannot be used"):
        FaceVoiceAssociation.from_hparams(bundle_folder, run_opts={"device": "cuda:0"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devise": "cpu"}, "SpeechBrain has no option 'devise'; did you mean 'device'?"),
        ({"jit": True}, "jit: torch.jit.script cannot compile face_encoder"),
        ({"jit": True, "jit_module_keys": ["face"]}, "there is no module 'face'"),
        ({"jit_module_keys": ["cmwr"]}, "--jit_module_keys: expected --jit beside it"),
        ({"precision": "fp16", "device": "cpu"}, "precision: expected fp32 or bf16 on the CPU"),
        ({"precision": "fp64"}, "precision: expected 'fp32' or"),
        ({"data_parallel_backend": True}, "data_parallel_backend: expected to be left out"),
        ({"distributed_launch": True}, "distributed_launch: expected to be left out"),
        ({"data_parallel_count": 2}, "data_parallel_count: expected to be left out"),
    ],
)
def test_run_options_that_cannot_work_are_refused(bundle_folder, options, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        FaceVoiceAssociation.from_hparams(bundle_folder, run_opts=options)
    assert "\n" not in str(error.value)


def test_run_options_of_a_training_play_no_part(bundle_folder, model):
    options = {"debug": True, "noprogressbar": True, "max_grad_norm": -1.0, "test_only": True}
    options |= {"jit": True, "jit_module_keys": ["cmwr"], "device": "cpu", "precision": "fp32"}
    wavs = torch.rand(1, 16000) - 0.5
    for given in (options, RunOptions.from_dictionary(options)):
        other = FaceVoiceAssociation.from_hparams(bundle_folder, run_opts=given)
        assert torch.allclose(other.encode_voice(wavs), model.encode_voice(wavs), atol=1e-6)
    half = FaceVoiceAssociation.from_hparams(bundle_folder, run_opts={"precision": "bf16"})
    embeddings = half.encode_voice(wavs)
    assert embeddings.dtype == torch.float32
    cosine = torch.cosine_similarity(embeddings, model.encode_voice(wavs))
    assert 0.99 < cosine < 1


def test_the_version_follows_weights_and_settings(bundle_folder, model, tmp_path):
    copy = shutil.copytree(bundle_folder, tmp_path / "copy")
    assert FaceVoiceAssociation.from_hparams(copy).version == model.version
    path = copy / "hyperparams.yaml"
    path.write_text(path.read_text().replace("resize: 36", "resize: 40"))
    assert FaceVoiceAssociation.from_hparams(copy).version != model.version


class Around(torch.nn.Module):
    """A user's module that holds a model."""

    def __init__(self, model):
        super().__init__()
        self.model, self.layer = model, torch.nn.Linear(4, 4)


@pytest.mark.parametrize(
    "change",
    [
        lambda module: module.train(),
        lambda module: module.half(),
        lambda module: module.double(),
        lambda module: module.bfloat16(),
        lambda module: module.to(torch.bfloat16),
        lambda module: module.to("cpu", torch.float16).train(),
        lambda module: module.eval(),
    ],
)
def test_a_module_around_the_model_does_not_change_its_embeddings(bundle_folder, tmp_path, change):
    """Training mode normalised by the batch, and half precision ended in an error of torch."""
    model = FaceVoiceAssociation.from_hparams(bundle_folder)
    face, voice = write_face(tmp_path / "a.png"), write_voice(tmp_path / "a.wav")
    expected = model.encode_face_files([face, face]), model.encode_voice_files(voice)
    around = change(Around(model))
    assert torch.equal(model.encode_face_files([face, face]), expected[0])
    assert torch.equal(model.encode_voice_files(voice), expected[1])
    assert not any(module.training for module in model.mods.modules())
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert around.layer.training == around.training


def test_another_type_of_weights_is_told(bundle_folder, caplog):
    model = FaceVoiceAssociation.from_hparams(bundle_folder)
    with caplog.at_level("WARNING", logger="speechbrain_fv"):
        model.to("cpu").float()
        assert caplog.text == ""
        model.half()
    assert "the weights stay in float32, torch.float16 was asked for" in caplog.text


def test_weights_that_are_to_be_trained_follow_train(bundle_folder):
    model = FaceVoiceAssociation.from_hparams(bundle_folder, freeze_params=False)
    assert model.train().mods.training and not model.eval().mods.training
