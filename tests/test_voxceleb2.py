"""VoxCeleb2's layout, .m4a through a real ffmpeg, and what is told where there is none."""

import subprocess

import pandas as pd
import pytest

from speechbrain_fv.corpora import voxceleb2
from speechbrain_fv.corpora.scan import Scanner
from speechbrain_fv.corpora.voxceleb2 import (
    decoded_voices,
    prepare_voxceleb2,
    read_meta2,
    split_of,
)
from speechbrain_fv.data.manifests import load_manifests
from speechbrain_fv.media import transcoding
from tests.media import write_face, write_voice

PEOPLE = [f"id{number:05d}" for number in range(12, 24)]
TESTED = PEOPLE[-3:]


def write_corpus(folder, ending=".wav", convert=None):
    """Voices in dev and test, faces by both kinds of ids, the meta file."""
    lines = []
    for number, person in enumerate(PEOPLE):
        part = "test" if person in TESTED else "dev"
        place = folder / part / "aac" / person / "vid-_1"
        for clip in range(2):
            wav = write_voice(place / f"0000{clip}.wav", 1.5, 22050, seed=number)
            if convert:
                convert(wav, wav.with_suffix(ending))
        name = person if number % 2 else f"n{number:06d}"
        write_face(folder / "faces" / name / ("vid-_1" if number % 2 else ".") / "0.jpg", number)
        lines.append(f"{person} ,n{number:06d} ,{'mf'[number % 2]} ,{part} ")
    text = "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \n" + "\n".join(lines) + "\n"
    (folder / "vox2_meta.csv").write_text(text)
    return folder


def prepare(tmp_path, **options):
    scanner = Scanner(cache_folder=str(tmp_path / "cache"), vad=False, num_workers=0)
    options = {"valid_share": 0.3, "scanner": scanner, **options}
    folders = (tmp_path / "dev", tmp_path / "test")
    prepare_voxceleb2(
        tmp_path / "m", folders, tmp_path / "faces", tmp_path / "vox2_meta.csv", **options
    )
    return load_manifests(tmp_path / "m")


def test_dev_and_test_are_prepared(tmp_path):
    write_corpus(tmp_path)
    manifests = prepare(tmp_path)
    identities = manifests.identities.set_index("identity")
    assert set(identities.index) == set(PEOPLE)
    assert set(identities.index[identities.split == "test"]) == set(TESTED)
    assert identities.gender.tolist() == ["m", "f"] * 6
    videos = {name.rpartition("/")[2] for name in manifests.faces["test"].video}
    assert videos == {"", "vid-_1"}
    voices = pd.concat(manifests.voices.values())
    assert len(voices) == 24 and voices.ID.iloc[0].endswith("--vid-_1--00000")


def test_the_split_of_a_person_depends_on_the_id_alone(tmp_path):
    write_corpus(tmp_path)
    meta = read_meta2(tmp_path / "vox2_meta.csv")
    whole = dict(zip(meta.identity, split_of(meta, 0.3), strict=True))
    fewer = meta[::2]
    assert all(
        whole[name] == split
        for name, split in zip(fewer.identity, split_of(fewer, 0.3), strict=True)
    )
    assert {"train", "valid", "test"} == set(whole.values())


def test_m4a_is_decoded_once_and_broken_files_are_left_out(tmp_path):
    ffmpeg = transcoding.find_ffmpeg()
    if ffmpeg is None:
        pytest.skip("needs ffmpeg, or the extra m4a")

    def convert(wav, target):
        command = [ffmpeg, "-v", "error", "-y", "-i", str(wav), str(target)]
        subprocess.run(command, check=True)
        wav.unlink()

    write_corpus(tmp_path, ".m4a", convert)
    broken = tmp_path / "dev/aac" / PEOPLE[0] / "vid-_1/00001.m4a"
    broken.write_bytes(b"\0\0\0 ftypM4A broken")
    manifests = prepare(tmp_path)
    voices = pd.concat(manifests.voices.values())
    assert len(voices) == 23 and all(voices.wav.str.endswith(".flac"))
    assert all(abs(voices.duration - 1.5) < 0.2) and set(voices.stop // 1000) <= {23, 24, 25, 26}
    excluded = pd.read_csv(tmp_path / "m/excluded.csv")
    assert excluded.path.tolist() == [str(broken)] and "M4A" in excluded.reason.iloc[0]
    assert manifests.preparation["notes"]["decoded_by_ffmpeg"] == 23
    decoded = sorted((tmp_path / "cache/voxceleb2").rglob("*.flac"))
    stamps = [path.stat().st_mtime_ns for path in decoded]
    (tmp_path / "m/preparation.json").unlink()
    decoded[0].unlink()  # an interrupted preparation goes on where it was
    prepare(tmp_path)
    again = sorted((tmp_path / "cache/voxceleb2").rglob("*.flac"))
    assert again == decoded and [path.stat().st_mtime_ns for path in again][1:] == stamps[1:]


def test_voices_of_another_folder_are_decoded_anew(tmp_path, monkeypatch):
    """Also where the decoded files of the first folder are newer than those of the second."""
    made = []

    def transcode(paths, targets, *_, **__):
        made.append(dict(zip(paths, targets, strict=True)))
        return {}

    monkeypatch.setattr(voxceleb2, "transcode", transcode)
    monkeypatch.setattr(voxceleb2, "require_ffmpeg", lambda option: "ffmpeg")
    scanner = Scanner(cache_folder=str(tmp_path / "cache"), vad=False, num_workers=0)
    for copy in ("one", "two", "one"):
        source = tmp_path / copy / "id00012/vid--_1/00001.m4a"
        voices = pd.DataFrame({"ID": ["id00012--vid--_1--00001"], "wav": [str(source)]})
        decoded_voices(voices, scanner)
    first, second, again = (list(pairs.values()) for pairs in made)
    assert first == again and first != second
    assert first[0].endswith("/id00012/vid--_1/00001.flac")


def test_without_ffmpeg_one_line_says_what_to_do(tmp_path, monkeypatch):
    write_corpus(tmp_path, ".m4a", lambda wav, target: wav.rename(target))
    monkeypatch.setattr(transcoding, "find_ffmpeg", lambda: None)
    message = r"dev/aac: its voices are .m4a, which ffmpeg .* pip install .*\[m4a\]"
    with pytest.raises(ValueError, match=message) as told:
        prepare(tmp_path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("id00013", "id00012", "vox2_meta.csv, line 3: expected every id once"),
        ("dev", "train", "vox2_meta.csv, line 2: .* with the set dev or test, got id00012 'train'"),
        ("Gender", "Sex", "missing column Gender"),
    ],
)
def test_faulty_meta_files_are_refused(tmp_path, old, new, message):
    write_corpus(tmp_path)
    file = tmp_path / "vox2_meta.csv"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_meta2(file)


def test_folders_without_clips_are_refused(tmp_path):
    write_corpus(tmp_path)
    (tmp_path / "empty").mkdir()
    meta, scanner = tmp_path / "vox2_meta.csv", Scanner(str(tmp_path), vad=False, num_workers=0)
    for voices, faces, name in (("empty", "faces", "voices"), ("dev", "empty", "faces")):
        with pytest.raises(ValueError, match=f"{name}_folder .*: no file id"):
            prepare_voxceleb2(tmp_path / "m", tmp_path / voices, tmp_path / faces, meta, scanner)
