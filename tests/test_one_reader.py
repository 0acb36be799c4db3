"""One reader: the scan, the training and the use of a model take a file alike, or refuse it in the
same words."""

import struct

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from PIL import Image

from speechbrain_fv.corpora.scan import Scanner
from speechbrain_fv.data.readers import ImageReader, SpeechReader
from speechbrain_fv.inference.clips import face_loader, least_of, voice_loader
from speechbrain_fv.media.audio import AudioFile, decode_audio, read_audio
from speechbrain_fv.media.files import reason_of
from speechbrain_fv.media.images import decode_image, read_image, reads_heic
from tests.media import write_face, write_voice
from tests.test_media_files import ORIENTATION, broken_images, broken_voices, picture, png

FACES, VOICES = ImageReader(24, 28), SpeechReader(clip_seconds=0.5)


def scanned(tmp_path, faces=(), voices=(), **options):
    """Returns the manifest rows of files by path, and the reason of each that was left out."""
    faces, voices = (list(map(str, paths)) for paths in (faces, voices))
    options = {"vad": False, "num_workers": 0, "max_excluded_share": 1.0, **options}
    scanner = Scanner(cache_folder=str(tmp_path / "cache"), **options)
    face_rows, voice_rows, excluded = scanner.select(
        pd.DataFrame({"ID": faces, "image": faces, "spk_id": "ann"}),
        pd.DataFrame({"ID": voices, "wav": voices, "spk_id": "ann"}),
        tmp_path,
    )
    rows = {row["ID"]: row for table in (face_rows, voice_rows) for row in table.to_dict("records")}
    return rows, dict(zip(excluded.path, excluded.reason, strict=True))


# ---- images


def turned(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return {"exif": exif}


def image_kinds(folder):
    """Files of every kind, from one picture."""
    photo = Image.fromarray(picture())
    cut_out = photo.convert("RGBA")
    cut_out.paste((0, 0, 0, 0), (0, 0, 30, 60))
    palette = photo.quantize(64)
    kinds = {
        "ordinary.jpg": (photo, {"quality": 92}),
        "progressive.jpg": (photo, {"progressive": True, "subsampling": 2}),
        "grey.jpg": (photo.convert("L"), {}),
        "cmyk.jpg": (photo.convert("CMYK"), {}),
        "turned.jpg": (photo, turned(6)),
        "windows.jfif": (photo, {"format": "JPEG"}),
        "two.jpg": (photo, {"format": "MPO", "save_all": True, "append_images": [photo]}),
        "ordinary.png": (photo, {}),
        "grey.png": (photo.convert("L"), {}),
        "palette.png": (palette, {}),
        "clear_palette.png": (palette, {"transparency": 3}),
        "cut_out.png": (cut_out, {}),
        "grey_cut_out.png": (cut_out.convert("LA"), {}),
        "turned.png": (photo, turned(8)),
        "turned.webp": (photo, {"lossless": True, **turned(5)}),
        "cut_out.webp": (cut_out, {"lossless": True}),
        "lossy.webp": (photo, {}),
        "moving.webp": (photo, {"save_all": True, "append_images": [photo.rotate(90)]}),
        "moving.gif": (palette, {"save_all": True, "append_images": [palette.rotate(90)]}),
        "old.bmp": (photo, {}),
        "scan.tif": (photo, {"compression": "tiff_lzw"}),
        "cmyk.tif": (photo.convert("CMYK"), {}),
        "plain.ppm": (photo, {}),
        "film.jp2": (photo, {}),
        "cut_out.jp2": (cut_out, {"irreversible": False}),
        "phone.avif": (photo, {}),
        "phone.heic": (photo, {}),
        "named_wrongly.png": (photo, {"format": "JPEG"}),
    }
    reads_heic()  # registers the plugin, where there is one
    Image.init()
    for name, (image, options) in kinds.items():
        if {"phone.avif": "AVIF", "phone.heic": "HEIF"}.get(name, "PNG") in Image.SAVE:
            image.save(folder / name, **options)
    deep = np.random.default_rng(0).integers(0, 65536, (40, 50, 3))
    (folder / "deep.png").write_bytes(png(deep, 2, 16))
    (folder / "deep_grey.png").write_bytes(png(deep[:, :, :1], 0, 16))
    return sorted(path for path in folder.iterdir() if path.is_file())


def test_every_kind_of_image_is_read_alike(tmp_path):
    """The training dropped the alpha that the use of a model made white, ignored the EXIF of WebP,
    and could not read AVIF, TIFF, BMP, JPEG 2000 at all, so that no such training was exported."""
    paths = image_kinds(tmp_path)
    rows, excluded = scanned(tmp_path, faces=paths)
    assert excluded == {} and len(rows) == len(paths) >= 28
    load = face_loader(FACES)
    for path in paths:
        used, _, _ = load(path)
        assert torch.equal(FACES(str(path), None), used), path
        assert torch.equal(used, FACES.centred(read_image(path)))
    assert (decode_image(tmp_path / "cut_out.png")[:, :, :30] == 255).all()
    for name in ("turned.jpg", "turned.png", "turned.webp"):
        assert decode_image(tmp_path / name).shape == (3, 90, 60)


def test_unusable_images_are_refused_in_the_same_words(tmp_path):
    paths = broken_images(tmp_path)
    _, excluded = scanned(tmp_path, faces=paths)
    assert set(excluded) == set(map(str, paths))
    for path in paths:
        with pytest.raises(ValueError) as caught:
            read_image(path)
        assert reason_of(caught.value, path) == excluded[str(path)]


def test_what_cannot_be_decoded_stops_the_training_by_name(tmp_path):
    for path in broken_images(tmp_path):
        try:
            decode_image(path)
        except ValueError as error:
            with pytest.raises(ValueError, match="cannot be read although") as caught:
                FACES(str(path), None)
            assert reason_of(error, path) in str(caught.value)


# ---- audio

AUDIO_KINDS = [
    *(("wav", name, 16000) for name in ("PCM_16", "PCM_24", "PCM_U8", "FLOAT", "DOUBLE")),
    *(("wav", name, 8000) for name in ("ULAW", "ALAW", "GSM610", "IMA_ADPCM", "MS_ADPCM")),
    *(("wav", name, 8000) for name in ("G721_32", "NMS_ADPCM_16", "NMS_ADPCM_32")),
    *(("au", name, 8000) for name in ("G721_32", "G723_24", "G723_40", "PCM_16")),
    *(("flac", name, 44100) for name in ("PCM_16", "PCM_24")),
    ("mp3", "MPEG_LAYER_III", 16000),
    ("mp3", "MPEG_LAYER_III", 44100),
    ("ogg", "VORBIS", 22050),
    ("ogg", "OPUS", 48000),
    *(("caf", name, 16000) for name in ("PCM_16", "ALAC_16")),
    *(("aiff", name, 16000) for name in ("PCM_16", "IMA_ADPCM", "DWVW_16")),
    *((name, "PCM_16", 16000) for name in ("w64", "voc", "rf64")),
    ("xi", "DPCM_16", 44100),
]


def chirp(seconds, rate, channels=1):
    """Tones that rise, louder and quieter, so that every window differs; (T, channels)."""
    time = np.arange(round(seconds * rate)) / rate
    wave = 0.3 * np.sin(2 * np.pi * (200 * time + 50 * time**2)) * (1.2 + np.sin(7 * time)) / 2
    noise = 0.02 * np.random.default_rng(0).standard_normal((len(time), channels))
    return (wave[:, None] + noise) / (1 + np.arange(channels))


@pytest.mark.parametrize("suffix, coding, rate", AUDIO_KINDS)
def test_every_kind_of_audio_is_read_alike(tmp_path, suffix, coding, rate):
    """A window of an MP3 came from a seek in training and from all of the file in use; GSM and
    G.72x cannot seek: the training advised to prepare again, and failed again, for ever."""
    path = tmp_path / f"voice.{suffix}"
    channels = 1 if coding in ("GSM610", "DPCM_16") or "G72" in coding or "NMS" in coding else 2
    channels = 1 if coding in ("DWVW_16",) else channels
    soundfile.write(path, chirp(3.0, rate, channels), rate, subtype=coding)
    rows, excluded = scanned(tmp_path, voices=[path])
    assert excluded == {}
    row = rows[str(path)]
    whole = decode_audio(path).samples
    assert row["start"] == 0 and row["stop"] == len(whole) == round(row["duration"] * rate)
    window, _, _ = voice_loader(VOICES, remove_silence=False)(path)
    assert torch.equal(VOICES(str(path), row["start"], row["stop"], "", None), window)
    same_rate = SpeechReader(clip_seconds=0.5, sample_rate=rate)
    for draw in range(4):
        first = np.random.default_rng(draw).integers(len(whole) - same_rate.num_samples)
        drawn = same_rate(str(path), 0, len(whole), "", draw).numpy()
        assert np.array_equal(drawn, whole[first : first + same_rate.num_samples])
    parts = [(rate // 4, rate // 2), (rate, rate + rate // 3)]
    text = ";".join(f"{first}:{last}" for first, last in parts)
    speech = same_rate(str(path), 0, len(whole), text, 1)
    joined = np.concatenate([whole[first:last] for first, last in parts])
    first = np.random.default_rng(1).integers(len(joined) - same_rate.num_samples)
    assert np.array_equal(speech.numpy(), joined[first : first + same_rate.num_samples])


def test_unusable_voices_are_refused_in_the_same_words(tmp_path):
    """Integers stored as floats passed the scan and the training, and were refused in use; a .raw
    file ended the scan in a traceback."""
    paths = broken_voices(tmp_path)
    _, excluded = scanned(tmp_path, voices=paths)
    assert set(excluded) == set(map(str, paths))
    for path in paths:
        with pytest.raises(ValueError) as caught:
            read_audio(path)
        assert reason_of(caught.value, path) == excluded[str(path)]


def test_too_little_speech_is_refused_in_the_same_words(tmp_path):
    path = write_voice(tmp_path / "noise.wav")
    _, excluded = scanned(tmp_path, voices=[path], vad=True)
    with pytest.raises(ValueError) as caught:
        voice_loader(VOICES, remove_silence=True)(path)
    assert reason_of(caught.value, path) == excluded[str(path)]


def test_use_takes_what_the_preparation_was_told_to_take(tmp_path):
    """A training on faces of 24 pixels and words of half a second could not be exported."""
    face, voice = write_face(tmp_path / "a.png", size=24), write_voice(tmp_path / "a.wav", 0.5)
    asked = {"min_face_pixels": 16, "min_seconds": 0.25, "min_level_db": -80.0}
    assert scanned(tmp_path, [face], [voice], **asked)[1] == {}
    least = least_of(asked)
    assert face_loader(FACES, None, least)(face)[0].shape == (3, 24, 24)
    assert voice_loader(VOICES, False, least)(voice)[0].shape == (8000,)
    with pytest.raises(ValueError, match="24 x 24 pixels"):
        face_loader(FACES, None, least_of({}))(face)


# ---- headers that count too little


def mp3(path, seconds, rate, seed=0):
    """Returns the bytes of an MP3 whose second half is the harder one to code."""
    wave = chirp(seconds, rate)
    wave[: len(wave) // 2] *= 1e-3
    soundfile.write(path, wave, rate, bitrate_mode="VARIABLE")
    return path.read_bytes()


def without_count(data):
    """Cuts off the first frame, in which the encoder counts the others."""
    return data[data.index(data[:2], 100) :]


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_an_mp3_is_decoded_to_its_end(tmp_path, rate):
    """libsndfile decodes as much as the encoder's header counts, or guesses from the first frame:
    half of a joined file, three quarters of one with a variable bit rate."""
    data, path = mp3(tmp_path / "whole.mp3", 6.0, rate), tmp_path / "voice.mp3"
    whole = decode_audio(tmp_path / "whole.mp3")
    assert len(whole.samples) == 6 * rate and whole.notices == []
    tag = b"ID3\3\0\0\0\0\1\0" + bytes(128)
    pieces = {
        "without a count": (without_count(data), 6),
        "joined": (data + data, 12),
        "joined without a count": (2 * without_count(data), 12),
        "joined with tags": (tag + data + b"TAG" + bytes(125) + tag + data, 12),
        "with a tag": (tag + data + b"TAG" + bytes(125), 6),
    }
    for name, (content, seconds) in pieces.items():
        path.write_bytes(content)
        recording = decode_audio(path)
        assert len(recording.samples) == pytest.approx(seconds * rate, abs=4 * 1152), name
        assert recording.notices == []
        late = recording.samples[-2 * rate : -rate]  # loud in each of them
        assert np.sqrt(np.mean(late**2)) > 0.05, name
    with AudioFile(path) as file:
        part = file.read(rate, 2 * rate)
    assert np.array_equal(part, decode_audio(path).samples[rate : 2 * rate])


def test_an_mp3_that_is_cut_still_says_so(tmp_path):
    path = tmp_path / "cut.mp3"
    mp3(path, 6.0, 16000)
    path.write_bytes(path.read_bytes()[:15000])
    (notice,) = decode_audio(path).notices
    assert notice.startswith("the file ends early: ") and notice.endswith("of 6.0 s")


@pytest.mark.parametrize("coding", ["VORBIS", "OPUS"])
def test_joined_ogg_files_are_decoded_to_the_last(tmp_path, coding):
    wholes = []
    for number, seconds in enumerate((2.0, 3.0, 1.5)):
        path = tmp_path / f"{number}.ogg"
        soundfile.write(path, chirp(seconds, 16000) / (1 + number), 16000, subtype=coding)
        wholes.append(decode_audio(path).samples)
    joined = tmp_path / "joined.ogg"
    joined.write_bytes(b"".join((tmp_path / f"{number}.ogg").read_bytes() for number in range(3)))
    assert np.array_equal(decode_audio(joined).samples, np.concatenate(wholes))
    with AudioFile(joined) as file:  # over both borders
        part = file.read(31000, 85000)
    assert np.array_equal(part, np.concatenate(wholes)[31000:85000])
    with pytest.raises(ValueError, match="6.5 s, expected at most 6 s; cut it shorter"):
        decode_audio(joined, max_seconds=6)


def test_joined_ogg_files_of_two_rates_are_refused(tmp_path):
    for rate in (16000, 22050):
        soundfile.write(tmp_path / f"{rate}.ogg", chirp(2.0, rate), rate, subtype="VORBIS")
    data = [(tmp_path / f"{rate}.ogg").read_bytes() for rate in (16000, 22050)]
    (tmp_path / "joined.ogg").write_bytes(b"".join(data))
    with pytest.raises(ValueError, match="several recordings joined, of different rates.*ffmpeg"):
        decode_audio(tmp_path / "joined.ogg")


@pytest.mark.parametrize("riff_size", [0, 8, 36, 96036])
def test_a_wav_of_length_0_is_decoded_to_its_end(tmp_path, riff_size):
    """A recorder that was switched off leaves the lengths that it began with."""
    path = write_voice(tmp_path / "voice.wav", seconds=3.0)
    whole, data = decode_audio(path).samples, bytearray(path.read_bytes())
    data[4:8], data[40:44] = struct.pack("<I", riff_size), bytes(4)
    path.write_bytes(data)
    assert np.array_equal(decode_audio(path).samples, whole)
    rows, _ = scanned(tmp_path, voices=[path])
    trained = VOICES(str(path), 0, rows[str(path)]["stop"], "", None)
    assert torch.equal(trained, VOICES.window(torch.from_numpy(whole), 16000))


def test_a_wav_without_samples_stays_without(tmp_path):
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros(0), 16000)
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 8) + b"INFOIART")
    with pytest.raises(ValueError, match="no samples"):
        decode_audio(path)


def test_a_vast_recording_is_not_taken_into_memory(tmp_path):
    path = tmp_path / "vast.wav"
    soundfile.write(path, np.zeros(0), 16000)
    with path.open("r+b") as file:
        file.truncate(2**30 + 1)  # takes no room on the disk
    with pytest.raises(ValueError, match="1073741825 bytes, expected at most 1073741824 of WAV"):
        decode_audio(path)
