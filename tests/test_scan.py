"""The scan: every kind of broken file, the VAD, the cache and its interruption."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

from speechbrain_fv.corpora import scan, workers
from speechbrain_fv.corpora.faults import face_fault, voice_fault
from speechbrain_fv.corpora.media_facts import face_facts, voice_facts
from speechbrain_fv.corpora.scan import Scanner
from speechbrain_fv.data.manifests import cache_key
from speechbrain_fv.media.vad import find_speech
from tests.deadly import deadly
from tests.media import vowels, write_face, write_voice


def scanner(folder, **options):
    options = {"vad": False, "num_workers": 0, "max_excluded_share": 1.0, **options}
    return Scanner(cache_folder=str(folder / "cache"), **options)


def tables(face_files, voice_files):
    faces = pd.DataFrame({"ID": [f.name for f in face_files], "image": map(str, face_files)})
    voices = pd.DataFrame({"ID": [f.name for f in voice_files], "wav": map(str, voice_files)})
    return faces.assign(spk_id="ann"), voices.assign(spk_id="ann")


def rotten_jpeg(path):
    """Flips bits of a JPEG until libjpeg warns of it, as about half of such flips make it."""
    good = write_face(path).read_bytes()
    for place in range(len(good) // 2, len(good) - 2):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        if "damage" in face_facts(str(path)):
            return path
    raise AssertionError("libjpeg does not warn")


def vast_png(path):
    """The header of an image of 100 megapixels, over few bytes."""
    Image.new("1", (10000, 10000)).save(path)
    return path


def broken_faces(folder):
    truncated = write_face(folder / "truncated.jpg")
    truncated.write_bytes(truncated.read_bytes()[:300])
    (folder / "text.jpg").write_text("no picture")
    (folder / "link.jpg").symlink_to("nowhere.jpg")
    (folder / "empty.jpg").write_bytes(b"")
    Image.new("RGB", (64, 64), (7, 7, 7)).save(folder / "constant.png")
    return {
        truncated: "no image that can be read (Truncated",
        folder / "text.jpg": "no image that can be read",
        folder / "link.jpg": "a link to nowhere.jpg, where no file is; mend the link",
        folder / "empty.jpg": "empty file; copy or save it again",
        folder / "constant.png": "one colour",
        folder / "absent.jpg": "not found",
        rotten_jpeg(folder / "rotten.jpg"): "damaged: Corrupt JPEG data",
        vast_png(folder / "vast.png"): "10000 x 10000 pixels, expected at most 50000000 in all",
        write_face(folder / "small.jpg", size=24): "24 x 24 pixels, expected at least 32 a side",
    }


def broken_voices(folder):
    (folder / "empty.wav").write_bytes(b"")
    contents = {
        "text": (
            b"no sound",
            "no audio that can be read (Error opening: Format not recognised.); copy",
        ),
        "page": (b"<!DOCTYPE html>", "text, such as a web page; download the file again"),
        "pointer": (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        "holes": (bytes(64044), "zeros, as an interrupted copy leaves them; copy the file again"),
        "archive": (b"PK\3\4", "an archive; unpack it"),
    }
    for name, (content, _) in contents.items():
        (folder / f"{name}.wav").write_bytes(content)
    soundfile.write(folder / "header.wav", np.zeros(0), 16000)
    soundfile.write(folder / "zeros.wav", np.zeros(32000), 16000)
    soundfile.write(folder / "nan.wav", np.full(32000, np.nan), 16000, subtype="FLOAT")
    return {
        **odd_levels(folder),
        folder / "empty.wav": "empty file; copy or save it again",
        **{folder / f"{name}.wav": fault for name, (_, fault) in contents.items()},
        folder / "header.wav": "no samples",
        folder / "zeros.wav": "silent: all samples are equal",
        folder / "nan.wav": "not finite",
        folder / "absent.wav": "not found",
        write_voice(folder / "quiet.wav", level=3e-4): "silent: -70.",
        write_voice(folder / "short.wav", seconds=0.5): "too short: 0.50 s",
    }


def odd_levels(folder):
    """Recordings whose samples or rates are far out, and such as are silent only when mixed."""
    voice = 0.1 * np.random.default_rng(0).standard_normal(32000)
    loud, cut = voice.copy(), voice.copy()
    loud[7] = 1e20
    opposite = np.stack([voice, -0.9999 * voice], axis=1)
    kinds = {
        "loud": (loud, 16000, "samples reach 1e+20, expected at most 8"),
        "loud_once": (np.stack([loud, voice], axis=1), 16000, "samples reach 5e+19"),
        "opposite": (opposite, 16000, "the 2 channels cancel each other out: -20."),
        "offset": (0.5 + 1e-5 * voice, 16000, "silent: -120."),
        "slow": (voice, 3999, "3999 Hz, expected 4000 to 768000 Hz"),
        "fast": (voice, 768001, "768001 Hz, expected 4000 to 768000 Hz"),
    }
    for name, (samples, rate, _) in kinds.items():
        soundfile.write(folder / f"{name}.wav", samples, rate, subtype="FLOAT")
    soundfile.write(folder / "cut.wav", cut, 16000)
    soundfile.write(folder / "cut_short.wav", cut, 16000)  # it is too short, since it was cut
    for name, length in (("cut", 50000), ("cut_short", 20000)):
        path = folder / f"{name}.wav"
        path.write_bytes(path.read_bytes()[:length])
    faults = {folder / f"{name}.wav": fault for name, (*_, fault) in kinds.items()}
    return {
        **faults,
        folder / "cut.wav": "the file ends early: 1.6 of 2.0 s; copy it again",
        folder / "cut_short.wav": "the file ends early: 0.6 of 2.0 s; copy it again",
    }


@pytest.mark.parametrize("way", ["hard link", "symbolic link", "copy", "linked folder"])
def test_a_file_of_two_people_is_left_out(tmp_path, way):
    """Links and copies put one face into training and test alike, and nobody saw it."""
    first, other = tmp_path / "a" / "ann.jpg", tmp_path / "b" / "bob.jpg"
    for number, path in enumerate((first, tmp_path / "bob2.jpg")):
        path.parent.mkdir(exist_ok=True)
        write_face(path, seed=number)
    if way == "linked folder":
        other = tmp_path / "b" / "ann.jpg"
        other.parent.symlink_to(first.parent)
    else:
        other.parent.mkdir()
        link = {"hard link": os.link, "symbolic link": os.symlink, "copy": shutil.copy}
        link[way](first, other)
    paths = [first, other, tmp_path / "bob2.jpg"]
    faces, voices = tables(paths, [write_voice(tmp_path / "ann.wav")])
    faces = faces.assign(ID=["1", "2", "3"], spk_id=["ann", "bob", "bob"])
    usable, _, excluded = scanner(tmp_path).select(faces, voices, tmp_path)
    assert usable.ID.tolist() == ["3"]
    assert excluded.reason.tolist() == [
        f"the same file as {other} of 'bob'; keep it with the person whom it shows",
        f"the same file as {first} of 'ann'; keep it with the person whom it shows",
    ]
    kept, _, _ = scanner(tmp_path, shared_files="keep").select(faces, voices, tmp_path)
    assert kept.ID.tolist() == ["1", "2", "3"]
    _, _, excluded = scanner(tmp_path).select(faces.assign(spk_id="ann"), voices, tmp_path)
    assert excluded.empty


def test_two_people_may_have_parts_of_one_recording(tmp_path):
    talk = write_voice(tmp_path / "talk.wav", seconds=6.0)
    faces, voices = tables([write_face(tmp_path / "a.jpg")], [talk] * 4)
    seconds = np.array([[0, 2], [2, 4], [3, 5], [0, 1]]) * 16000
    voices = voices.assign(
        ID=list("wxyz"),
        spk_id=["ann", "bob", "ann", "ann"],
        start=seconds[:, 0],
        stop=seconds[:, 1],
    )
    _, usable, excluded = scanner(tmp_path).select(faces, voices, tmp_path)
    assert usable.ID.tolist() == ["w", "z"]
    assert [fault[:13] for fault in excluded.reason] == ["the same file"] * 2


@pytest.mark.parametrize("name, written", [(b"Zo\xeb", "Zo\\xeb"), (b"Zo\re", "Zo\\x0de")])
def test_names_that_no_csv_holds_are_left_out_readably(tmp_path, name, written):
    """They used to end the preparation in an error of encoding that named no file."""
    face, voice = write_face(tmp_path / "a.jpg"), write_voice(tmp_path / "a.wav")
    folder = os.fsencode(tmp_path) + b"/" + name
    os.mkdir(folder)
    shutil.copy(face, folder + b"/1.jpg")
    rows = tables([face, Path(os.fsdecode(folder + b"/1.jpg"))], [voice])
    rows[0]["spk_id"] = ["ann", os.fsdecode(name)]
    faces, _, _ = scanner(tmp_path).select(*rows, tmp_path)
    assert faces.ID.tolist() == ["a.jpg"]
    (row,) = pd.read_csv(tmp_path / "excluded.csv").itertuples()
    assert row.path == f"{tmp_path}/{written}/1.jpg" and row.identity == written
    assert row.reason.startswith("the name is not UTF-8")
    assert len(cache_key({}, [folder.decode(errors="surrogateescape")])) == 64


def test_files_that_kill_a_process_are_named_and_the_others_read():
    paths = [f"{number}.wav" for number in range(60)]
    paths[20], paths[21], paths[50] = "crash.wav", "odd.wav", "kill.wav"
    facts = dict(workers.read_all(deadly, paths, 2))
    assert set(facts) == set(paths)
    assert "nobody thought of" in facts.pop("odd.wav")["error"]
    for name in ("crash.wav", "kill.wav"):
        assert "the process that read it died" in facts.pop(name)["error"]
    assert all(of == {"path": path} for path, of in facts.items())


def test_processes_that_cannot_start_are_no_fault_of_the_files(monkeypatch):
    monkeypatch.setattr(workers, "_end_with_parent", os._exit)  # fails as it lacks the status
    with pytest.raises(ValueError, match="end before they begin; .*scan_workers in a YAML"):
        list(workers.read_all(deadly, ["0.wav"], 1))


def test_a_long_scan_says_first_how_long_it_will_take(monkeypatch, caplog):
    monkeypatch.setattr(scan, "MANY", 50)
    caplog.set_level("INFO", "speechbrain_fv")
    reader = Scanner(vad=False, num_workers=1)
    paths = [f"{number}.wav" for number in range(60)]
    facts = dict(reader._read_all(deadly, paths, "voice"))  # in the order in which they come
    assert facts == {path: {"path": path} for path in paths}
    (told,) = [text for text in caplog.messages if text.startswith("scan of 30 voice files")]
    assert re.search(r"\d+ files/s per core, .* 1 processes .*; about 0 min, until \d{4}-", told)


def test_broken_files_are_left_out_with_the_reason(tmp_path):
    face, voice = write_face(tmp_path / "good.jpg"), write_voice(tmp_path / "good.wav")
    faults = {**broken_faces(tmp_path), **broken_voices(tmp_path)}
    bad_faces, bad_voices = (
        [path for path in faults if (path.suffix == ".wav") == is_voice] for is_voice in (0, 1)
    )
    rows = tables([face, *bad_faces], [voice, *bad_voices])
    faces, voices, excluded = scanner(tmp_path).select(*rows, tmp_path)
    assert faces.ID.tolist() == ["good.jpg"]
    assert voices.to_dict("records") == [
        {
            "ID": "good.wav",
            "duration": 2.0,
            "wav": str(voice),
            "start": 0,
            "stop": 32000,
            "spk_id": "ann",
            "speech": "",
            "video": "",
        }
    ]
    assert len(excluded) == len(faults)
    for row in excluded.itertuples():
        fault = next(fault for path, fault in faults.items() if str(path) == row.path)
        assert fault in row.reason
    report = pd.read_csv(tmp_path / "excluded.csv")
    pd.testing.assert_frame_equal(report, excluded, check_dtype=False)


def test_too_many_broken_files_stop_the_preparation(tmp_path):
    files = [write_voice(tmp_path / f"{number}.wav", seed=number) for number in range(19)]
    (tmp_path / "broken.wav").write_bytes(b"")
    rows = tables([write_face(tmp_path / "a.jpg")], [*files, tmp_path / "broken.wav"])
    scanner(tmp_path, max_excluded_share=0.05).select(*rows, tmp_path)
    files[0].write_bytes(b"")
    with pytest.raises(ValueError, match=r"2 of 20 voice files \(10.0%\) .* 0.05.*0.wav: empty"):
        scanner(tmp_path, max_excluded_share=0.05).select(*rows, tmp_path)
    assert len(pd.read_csv(tmp_path / "excluded.csv")) == 2


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_vad_finds_the_speech_at_any_rate(rate):
    """Two stretches of vowels, [1, 3] and [4, 5.5] s, in faint noise."""
    parts = [np.zeros(rate), vowels(2, rate), np.zeros(rate), vowels(1.5, rate, seed=1)]
    sound = np.concatenate([*parts, np.zeros(rate // 2)]).astype(np.float32)
    sound += 1e-4 * np.random.default_rng(0).standard_normal(len(sound)).astype(np.float32)
    segments = np.array(find_speech(sound, rate)) / rate
    assert segments.shape == (2, 2)
    assert np.abs(segments - [[1, 3], [4, 5.5]]).max() < 0.35


def test_speech_is_kept_in_samples_of_the_file_and_cut_to_the_clip(tmp_path):
    """Stereo at 44.1 kHz: one channel talks from second 1 to 4, rows take all of it or a part."""
    rate = 44100
    talk = np.concatenate([np.zeros(rate), vowels(3, rate), np.zeros(rate)])
    soundfile.write(tmp_path / "talk.wav", np.stack([talk, 0 * talk], axis=1), rate)
    faces, voices = tables([write_face(tmp_path / "a.jpg")], [tmp_path / "talk.wav"] * 3)
    voices["ID"] = ["all", "inside", "before"]
    voices["start"], voices["stop"] = [0, 2 * rate, 0], [5 * rate, 4 * rate, rate]
    _, voices, excluded = scanner(tmp_path, vad=True).select(faces, voices, tmp_path)
    assert voices.ID.tolist() == ["all", "inside"]
    assert voices.duration.tolist() == [5.0, 5.0]
    segments = [[part.split(":") for part in row.split(";")] for row in voices.speech]
    whole, inside = (np.array(row, int) / rate for row in segments)
    assert whole[0, 0] > 0.6 and whole[-1, 1] < 4.4
    assert inside[0, 0] == 2.0 and inside[-1, 1] <= 4.0
    assert excluded.reason.tolist()[0].startswith(("no speech in 5.00 s", "0."))


def test_noise_has_no_speech(tmp_path):
    facts = voice_facts(str(write_voice(tmp_path / "noise.wav")), vad=True)
    assert facts["speech"] == []
    assert "no speech in 2.00 s, expected" in voice_fault(facts, 0.0, 1.0, -60.0)


def test_level_is_the_rms_in_db(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 16000)
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    expected = 20 * np.log10(np.sqrt(np.mean(samples**2)))
    assert voice_facts(str(tmp_path / "a.wav"))["level_db"] == pytest.approx(expected, abs=0.01)


def test_grey_image_counts_as_image(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    facts = face_facts(str(tmp_path / "grey.png"))
    assert facts.items() >= {"height": 40, "width": 50, "constant": False}.items()
    assert face_fault(facts, 40) == ""


def count_reads(monkeypatch):
    reads = []

    def read(path, vad):
        reads.append(path)
        return voice_facts(path, vad)

    monkeypatch.setattr(scan, "voice_facts", read)
    return reads


def test_a_file_is_read_once_and_again_when_it_changes(tmp_path, monkeypatch):
    files = [str(write_voice(tmp_path / f"{number}.wav", seed=number)) for number in range(4)]
    reads = count_reads(monkeypatch)
    first = scanner(tmp_path).scan(files + files, "voice")
    assert reads == files
    assert scanner(tmp_path, min_seconds=9.0).scan(files, "voice") == first
    assert len(reads) == 4
    write_voice(tmp_path / "2.wav", seconds=1.0)
    again = scanner(tmp_path).scan(files, "voice")
    assert reads[4:] == [files[2]]
    assert again[files[2]]["num_samples"] == 16000


def test_an_interrupted_scan_goes_on_past_a_torn_line(tmp_path, monkeypatch):
    files = [str(write_voice(tmp_path / f"{number}.wav", seed=number)) for number in range(4)]
    expected = scanner(tmp_path).scan(files, "voice")
    store = next((tmp_path / "cache" / "scan").iterdir())
    lines = store.read_bytes().splitlines(keepends=True)
    store.write_bytes(b"".join(lines[:2]) + lines[2][:40])
    reads = count_reads(monkeypatch)
    assert scanner(tmp_path).scan(files, "voice") == expected
    assert reads == files[2:]
    assert scanner(tmp_path).scan(files, "voice") == expected
    assert reads == files[2:]


def test_workers_give_the_same_facts(tmp_path):
    files = [str(write_voice(tmp_path / f"{number}.wav", seed=number)) for number in range(20)]
    files += [str(path) for path in broken_voices(tmp_path)]
    alone = scanner(tmp_path / "alone").scan(files, "voice")
    assert scanner(tmp_path / "two", num_workers=2).scan(files, "voice") == alone


def test_a_killed_scan_keeps_what_it_has_and_leaves_no_process(tmp_path):
    """Workers whose parent was killed used to wait for work for ever."""
    file = write_voice(tmp_path / "0.wav", seconds=60)
    files = [str(file), *(str(tmp_path / f"{number}.wav") for number in range(1, 400))]
    for link in files[1:]:
        os.link(file, link)
    code = (
        "import sys; from speechbrain_fv.corpora.scan import Scanner;"
        "scanner = Scanner(cache_folder=sys.argv[1], vad=False, num_workers=1);"
        "scanner.scan(sys.argv[2:], 'voice')"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "cache"), *files]
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL, start_new_session=True)
    store, deadline = tmp_path / "cache" / "scan", time.time() + 60
    while not (store.exists() and any(file.stat().st_size for file in store.iterdir())):
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    entries = [json.loads(line) for line in next(store.iterdir()).read_bytes().splitlines()[:1]]
    assert entries[0]["path"] in files
    while time.time() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("worker processes outlived the scan")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"min_face_pixels": 0}, "min_face_pixels: expected at least 1, got 0"),
        ({"min_seconds": 0}, "min_seconds: expected above 0"),
        ({"min_level_db": 3}, "min_level_db: expected at most 0"),
        ({"max_excluded_share": 1.5}, r"max_excluded_share: expected in \[0, 1\]"),
        ({"num_workers": -1}, "num_workers: expected at least 0"),
    ],
)
def test_options_out_of_range_are_rejected(option, message):
    with pytest.raises(ValueError, match=message):
        Scanner(**option)
