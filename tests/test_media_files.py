"""People's own files: formats, orientations, rates; everything broken is refused by name."""

import os
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_image

from speechbrain_fv.data.readers import SpeechReader
from speechbrain_fv.media.audio import read_audio
from speechbrain_fv.media.images import read_image
from speechbrain_fv.media.kinds import media_kind
from speechbrain_fv.media.vad import find_speech, remove_silence
from tests.media import vowels, write_face, write_voice

ORIENTATION = 0x112  # the EXIF tag
AS_STORED = {  # EXIF orientation -> upright pixels (H, W, 3) to stored ones, by the standard's text
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


def picture(height=60, width=90):
    """Smooth colours that differ in all directions, (height, width, 3) uint8."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return (255 * np.stack([rows, columns, rows * columns], axis=2)).astype(np.uint8)


def pixels(path):
    return read_image(path).permute(1, 2, 0).numpy()


# ---- images


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True, "quality": 40, "subsampling": 2}])
def test_a_jpeg_has_the_pixels_of_training(tmp_path, mode, options):
    path = tmp_path / "face.jpg"
    Image.fromarray(picture()).convert(mode).save(path, **options)
    assert torch.equal(read_image(path), decode_image(str(path), ImageReadMode.RGB))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_a_png_has_the_pixels_of_training(tmp_path, mode):
    path = tmp_path / "face.png"
    Image.fromarray(picture()).convert(mode).save(path)
    assert torch.equal(read_image(path), decode_image(str(path), ImageReadMode.RGB))


@pytest.mark.parametrize(
    "name, options",
    [
        ("face.bmp", {}),
        ("face.tif", {}),
        ("lzw.tif", {"compression": "tiff_lzw"}),
        ("face.ppm", {}),
        ("face.webp", {"lossless": True}),
        ("face.jp2", {"irreversible": False}),
        ("named_wrongly.jpg", {"format": "PNG"}),
    ],
)
def test_lossless_formats_give_their_pixels(tmp_path, name, options):
    Image.fromarray(picture()).save(tmp_path / name, **options)
    assert np.array_equal(pixels(tmp_path / name), picture())


@pytest.mark.parametrize(
    "name, tolerance", [("face.gif", 40), ("face.webp", 20), ("face.avif", 20)]
)
def test_lossy_formats_give_nearly_their_pixels(tmp_path, name, tolerance):
    if name.upper().endswith("AVIF") and "AVIF" not in Image.SAVE:
        Image.init()
        if "AVIF" not in Image.SAVE:
            pytest.skip("this Pillow has no AVIF")
    Image.fromarray(picture()).save(tmp_path / name)
    assert np.abs(pixels(tmp_path / name).astype(int) - picture()).max() <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["face.png", "face.webp", "face.tif", "face.jpg"])
def test_exif_orientations_become_upright(tmp_path, name, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(AS_STORED[orientation](picture())))
    lossless = {"lossless": True} if name.endswith("webp") else {}
    stored.save(tmp_path / name, exif=exif, **lossless)
    difference = np.abs(pixels(tmp_path / name).astype(int) - picture())
    assert difference.max() <= (25 if name.endswith("jpg") else 0)


def test_a_phone_photo_of_two_pictures_gives_the_first(tmp_path):
    second = Image.fromarray(picture()[::2, ::2])
    path = tmp_path / "phone.jpg"
    Image.fromarray(picture()).save(path, format="MPO", save_all=True, append_images=[second])
    assert Image.open(path).format == "MPO"
    assert read_image(path).shape == (3, 60, 90)


def test_a_rotated_photo_of_12_megapixels(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # held upright: stored lying
    Image.fromarray(picture(3000, 4000)).save(tmp_path / "photo.jpg", exif=exif)
    image = read_image(tmp_path / "photo.jpg")
    assert image.shape == (3, 4000, 3000)
    # stored top left is blackest: after a quarter turn clockwise it is at the top right
    assert image[:, :50, -50:].float().mean() < 10 < image[:, -50:, :50].float().mean()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_become_white(tmp_path, mode):
    image = Image.new("RGBA", (40, 40), (200, 0, 0, 255))
    image.paste((0, 0, 255, 0), (0, 0, 20, 40))
    image.convert(mode).save(tmp_path / "cut_out.png")
    seen = pixels(tmp_path / "cut_out.png")
    assert (seen[:, :20] == 255).all() and not (seen[:, 20:] == 255).all()


def test_half_transparent_pixels_are_mixed_with_white(tmp_path):
    image = Image.fromarray(picture()).convert("RGBA")
    image.putalpha(128)
    image.save(tmp_path / "half.png")
    expected = 255 - (255 - picture().astype(float)) * 128 / 255
    assert np.abs(pixels(tmp_path / "half.png") - expected).max() <= 1


def png(values, colour_type, depth):
    """A PNG by the letter of its standard; values (H, W, C)."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(f">u{depth // 8}").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("colour_type, channels", [(0, 1), (2, 3)])
def test_16_bits_give_the_high_byte(tmp_path, colour_type, channels):
    values = np.random.default_rng(0).integers(0, 65536, (40, 50, channels))
    (tmp_path / "deep.png").write_bytes(png(values, colour_type, 16))
    expected = np.broadcast_to(values >> 8, (40, 50, 3))
    assert np.array_equal(pixels(tmp_path / "deep.png"), expected)


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def broken_images(folder):
    Image.new("RGB", (64, 64), (7, 7, 7)).save(folder / "constant.png")
    Image.fromarray(np.ones((40, 40), np.float32)).save(folder / "float.tif")
    (folder / "text.jpg").write_text("no picture")
    (folder / "empty.jpg").touch()
    (folder / "script.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n")
    (folder / "iphone.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (folder / "folder.jpg").mkdir()
    vast = png(np.zeros((1, 1, 3)), 2, 8).replace(
        struct.pack(">II", 1, 1), struct.pack(">II", 60000, 60000), 1
    )
    (folder / "bomb.png").write_bytes(vast)
    Image.fromarray(picture(32, 641)).save(folder / "strip.png")
    return {
        folder / "constant.png": "one colour only",
        folder / "float.tif": "TIFF that cannot be decoded.*floating-point",
        folder / "text.jpg": "no image that can be read",
        folder / "empty.jpg": "empty file",
        folder / "script.eps": "no image that can be read",
        folder / "iphone.jpg": "HEIC, the photos of iPhones, which is not read; convert it",
        folder / "folder.jpg": "a folder, expected a file",
        folder / "absent.jpg": "not found",
        folder / "bomb.png": "no image that can be read|far more than 50000000 pixels",
        folder / "strip.png": "641 x 32 pixels, expected the longer side to have at most 20 times",
        write_face(folder / "small.jpg", size=24): "24 x 24 pixels, expected at least 32 a side",
        cut(write_face(folder / "cut.jpg"), 0.6): "JPEG that cannot be decoded, broken or trunc",
        cut(write_face(folder / "cut.png"), 0.6): "PNG that cannot be decoded, broken or trunc",
        cut(write_face(folder / "cut.webp"), 0.6): "broken|no image that can be read",
        cut(write_face(folder / "cut.tif"), 0.6): "TIFF that cannot be decoded, broken or trunc",
        write_voice(folder / "voice.wav"): "no image that can be read",
    }


def test_unusable_images_are_refused_by_name(tmp_path):
    for path, reason in broken_images(tmp_path).items():
        with pytest.raises(ValueError, match=reason) as caught:
            read_image(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_what_just_reaches_the_bounds_is_read(tmp_path):
    assert read_image(write_face(tmp_path / "face.png", size=32)).shape == (3, 32, 32)
    recording = read_audio(write_voice(tmp_path / "voice.wav", seconds=1.0), max_seconds=1.0)
    assert len(recording.samples) == 16000


def test_a_strip_is_read_up_to_its_bound(tmp_path):
    """A PNG of 140 kB, 32 x 1,500,000 pixels, took 22 GiB where the reader resized it."""
    Image.fromarray(picture(32, 640)).save(tmp_path / "strip.png")
    assert read_image(tmp_path / "strip.png").shape == (3, 32, 640)


def test_the_bound_on_pixels_is_the_callers(tmp_path):
    Image.fromarray(picture(100, 200)).save(tmp_path / "face.png")
    assert read_image(tmp_path / "face.png", max_pixels=20_000).shape == (3, 100, 200)
    with pytest.raises(ValueError, match="200 x 100 pixels, expected at most 19999 in all"):
        read_image(tmp_path / "face.png", max_pixels=19_999)


# ---- audio


def tone(seconds=2.0, rate=16000, channels=1, hertz=200, level=0.3):
    wave = level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "PCM_U8"])
def test_16_khz_mono_has_the_samples_of_training(tmp_path, subtype):
    path = write_voice(tmp_path / "voice.wav", seconds=3.0)
    samples, rate = soundfile.read(path)
    soundfile.write(path, samples, rate, subtype=subtype)
    recording = read_audio(path)
    trained = SpeechReader(clip_seconds=3.0)(str(path), 0, 48000, "", None)
    assert recording.notices == [] and torch.equal(recording.samples, trained)


@pytest.mark.parametrize("rate, channels", [(8000, 1), (44100, 2), (48000, 6), (16000, 2)])
def test_other_rates_and_channels_have_the_samples_of_training(tmp_path, rate, channels):
    path = write_voice(tmp_path / "voice.flac", seconds=2.0, rate=rate, channels=channels)
    trained = SpeechReader(clip_seconds=2.0)(str(path), 0, 2 * rate, "", None)
    assert torch.allclose(read_audio(path).samples, trained, atol=1e-6)


@pytest.mark.parametrize(
    "name, subtype",
    [
        ("voice.wav", "PCM_16"),
        ("voice.wav", "ULAW"),
        ("voice.flac", "PCM_24"),
        ("voice.ogg", "VORBIS"),
        ("voice.ogg", "OPUS"),
        ("voice.mp3", "MPEG_LAYER_III"),
        ("voice.aiff", "PCM_16"),
        ("voice.caf", "PCM_16"),
    ],
)
def test_a_phones_8_khz_stereo_in_every_format(tmp_path, name, subtype):
    soundfile.write(tmp_path / name, tone(rate=8000, channels=2), 8000, subtype=subtype)
    recording = read_audio(tmp_path / name)
    assert recording.notices == ["2 channels mixed down", "8000 Hz resampled to 16000 Hz"]
    assert recording.samples.dtype == torch.float32
    assert len(recording.samples) == pytest.approx(32000, abs=1600)
    spectrum = torch.fft.rfft(recording.samples, n=32000).abs()
    assert spectrum.argmax() / 2.0 == pytest.approx(200, abs=2)  # bins of half a Hz
    assert recording.samples.square().mean().sqrt() == pytest.approx(0.3 / 2**0.5, rel=0.05)


def test_an_odd_rate_neither_shifts_the_pitch_nor_takes_gigabytes(tmp_path):
    """44101 and 16000 share no factor: an exact kernel would hold 16000 x 44101 numbers."""
    soundfile.write(tmp_path / "odd.wav", tone(rate=44101, hertz=1000), 44101)
    samples = read_audio(tmp_path / "odd.wav").samples
    assert len(samples) == pytest.approx(32000, abs=1)
    expected = tone(hertz=1000)[: len(samples), 0]
    assert np.abs(samples.numpy() - expected)[200:-200].max() < 5e-3


@pytest.mark.parametrize("rate", [8000, 11025, 12000, 22050, 24000, 32000, 44100, 48000, 96000])
def test_usual_rates_are_resampled_exactly(tmp_path, rate):
    """The replaced ratio is the ratio itself."""
    soundfile.write(tmp_path / "voice.wav", tone(rate=rate), rate)
    assert len(read_audio(tmp_path / "voice.wav").samples) == 32000


def broken_voices(folder):
    (folder / "empty.wav").touch()
    (folder / "text.mp3").write_text("no sound" * 100)
    (folder / "noise.raw").write_bytes(bytes(range(256)) * 100)
    (folder / "folder.wav").mkdir()
    soundfile.write(folder / "header.wav", np.zeros(0), 16000)
    soundfile.write(folder / "zeros.wav", np.zeros(32000), 16000)
    soundfile.write(folder / "nan.wav", np.full(32000, np.nan), 16000, subtype="FLOAT")
    one_nan = tone().astype(np.float32)
    one_nan[20000] = np.nan
    soundfile.write(folder / "one_nan.wav", one_nan, 16000, subtype="FLOAT")
    soundfile.write(folder / "infinite.wav", np.full(32000, -np.inf), 16000, subtype="FLOAT")
    soundfile.write(folder / "loud.wav", 1e4 * tone(), 16000, subtype="FLOAT")
    soundfile.write(folder / "sunk.wav", np.minimum(30 * tone(), 0), 16000, subtype="FLOAT")
    soundfile.write(folder / "opposite.wav", tone(channels=2) * [1, -1], 16000, subtype="FLOAT")
    soundfile.write(folder / "slow.wav", tone(rate=2000), 2000)
    soundfile.write(folder / "crowd.wav", tone(channels=65), 16000)
    soundfile.write(folder / "cut.flac", tone(), 16000)
    (folder / "phone.m4a").write_bytes(b"\0\0\0\x1cftypM4A \0\0\2\0" + bytes(100))
    (folder / "browser.webm").write_bytes(b"\x1aE\xdf\xa3\x9fB\x86\x81" + bytes(100))
    convert = "convert it: ffmpeg -i {} -ac 1 -ar 16000"
    return {
        folder / "empty.wav": "empty file",
        folder / "text.mp3": "no audio that can be read .*" + convert.format("text.mp3"),
        folder / "noise.raw": "no audio that can be read",
        folder / "folder.wav": "a folder, expected a file",
        folder / "absent.wav": "not found",
        folder / "header.wav": "no samples",
        folder / "zeros.wav": "silent: all samples are equal, expected at least -60 dB",
        folder / "nan.wav": "not finite",
        folder / "one_nan.wav": "not finite",
        folder / "infinite.wav": "not finite",
        folder / "loud.wav": r"samples reach 3e\+03, expected at most 8; convert it again",
        folder / "sunk.wav": "samples reach 9, expected at most 8",
        folder / "opposite.wav": "the 2 channels cancel each other out: .* alone, 0 mixed down",
        folder / "slow.wav": "2000 Hz, expected 4000 to 768000 Hz",
        folder / "crowd.wav": "65 channels, expected at most 64",
        folder / "phone.m4a": r"MP4 or M4A \(AAC\).*" + convert.format("phone.m4a"),
        folder / "browser.webm": "WebM or Matroska.*" + convert.format("browser.webm"),
        cut(folder / "cut.flac", 0.6): "FLAC that cannot be decoded, broken or trunc",
        write_voice(folder / "quiet.wav", level=3e-4): r"silent: -70\.. dB",
        write_voice(folder / "short.wav", seconds=0.5): "too short: 0.50 s, expected at least 1 s",
        write_face(folder / "face.jpg"): "no audio that can be read",
    }


def test_unusable_voices_are_refused_by_name(tmp_path):
    for path, reason in broken_voices(tmp_path).items():
        with pytest.raises(ValueError, match=reason) as caught:
            read_audio(path)
        assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("name, kind", [("m4a", "MP4 or M4A"), ("webm", "WebM"), ("aac", "AAC")])
def test_what_ffmpeg_writes_is_told_by_name(tmp_path, name, kind):
    voice = write_voice(tmp_path / "voice.wav")
    encode = ["ffmpeg", "-loglevel", "error", "-i", str(voice), str(tmp_path / f"voice.{name}")]
    subprocess.run(encode, check=True)
    for read in (read_audio, media_kind):
        with pytest.raises(ValueError, match=kind):
            read(tmp_path / f"voice.{name}")


@pytest.mark.parametrize("name", ["long.wav", "long.flac", "long.ogg", "long.mp3"])
def test_a_long_recording_is_refused_from_its_header(tmp_path, name, monkeypatch):
    soundfile.write(tmp_path / name, tone(seconds=11), 16000)
    assert len(read_audio(tmp_path / name, max_seconds=12).samples) >= 11 * 16000
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(ValueError, match="11.. s, expected at most 10 s; cut it shorter"):
        read_audio(tmp_path / name, max_seconds=10)


def test_half_an_hour_is_read_and_a_gigabyte_is_not(tmp_path, monkeypatch):
    """Ten minutes were the limit, for talks and interviews too."""
    soundfile.write(tmp_path / "talk.flac", np.tile(tone(seconds=60), (30, 1)), 16000)
    assert len(read_audio(tmp_path / "talk.flac").samples) == 1800 * 16000
    path = tmp_path / "bomb.flac"
    soundfile.write(path, tone(rate=96000), 96000)
    data = bytearray(path.read_bytes())
    data[21:26] = bytes([data[21] & 0xF0]) + (2**28 + 96000).to_bytes(4, "big")
    path.write_bytes(data)
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(ValueError, match=r"2797.2 s, expected at most 2796.2 s"):
        read_audio(path)


def test_a_flac_that_hides_its_length_is_refused(tmp_path):
    """Streamed files announce no length: bytes 18 to 25 of a FLAC, their last 36 bits."""
    path = tmp_path / "stream.flac"
    soundfile.write(path, tone(seconds=3), 16000)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="stream of unknown length; convert it: ffmpeg -i stream"):
        read_audio(path)


@pytest.mark.parametrize("name", ["early.wav", "early.mp3", "early.aiff"])
def test_a_file_that_ends_early_is_read_with_a_notice(tmp_path, name):
    soundfile.write(tmp_path / name, tone(seconds=4), 16000)
    recording = read_audio(cut(tmp_path / name, 0.6))
    (notice,) = recording.notices
    assert notice.startswith("the file ends early: 2.") and notice.endswith(" of 4.0 s")
    assert len(recording.samples) == pytest.approx(2.4 * 16000, rel=0.05)


def test_a_wav_that_was_streamed_gives_no_notice(tmp_path):
    """Its header says 4 GB, as the length was not known when it was written."""
    path = write_voice(tmp_path / "piped.wav")
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff" * 4
    path.write_bytes(data)
    recording = read_audio(path)
    assert recording.notices == [] and len(recording.samples) == 32000


# ---- memory

GROWTH = """
import sys
from pathlib import Path
from speechbrain_fv.media.audio import read_audio
from speechbrain_fv.media.images import read_image

def kilobytes(name):
    return int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0])

def growth(read, path):
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = kilobytes("VmRSS")
    try:
        print(len(read(path).samples))
    except ValueError as error:
        print(error)
    print(kilobytes("VmHWM") - before)

growth(read_image, sys.argv[1])
growth(read_audio, sys.argv[2])
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="Linux tells the peak")
def test_memory_is_bounded(tmp_path):
    """A bomb, 144 megapixels in 20 kB, is not decoded; of eight channels only one is kept.

    Decoded, the bomb would take 432 MB; the eight channels take 307 MB, the one 38 MB.
    """
    bomb, voice = tmp_path / "bomb.png", tmp_path / "channels.flac"
    Image.new("1", (12000, 12000)).save(bomb)
    minute = tone(seconds=60, channels=8).astype(np.float32)
    with soundfile.SoundFile(voice, "w", 16000, channels=8) as file:
        for _ in range(10):
            file.write(minute)
    command = [sys.executable, "-W", "ignore", "-c", GROWTH, str(bomb), str(voice)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "12000 x 12000 pixels, expected at most 50000000 in all; scale it down" in out[0]
    assert int(out[1]) < 20_000
    assert int(out[2]) == 600 * 16000
    assert int(out[3]) < 200_000


# ---- silence, kinds


def test_silence_is_removed_as_the_preparation_does():
    speech = vowels(2.0)
    silence = np.zeros(24000, np.float32)
    samples = torch.from_numpy(np.concatenate([silence, speech, silence, speech, silence]))
    kept = remove_silence(samples, 16000)
    segments = find_speech(samples.numpy(), 16000)
    assert torch.equal(kept, torch.cat([samples[start:stop] for start, stop in segments]))
    assert len(kept) == pytest.approx(2 * len(speech), rel=0.2)


@pytest.mark.parametrize(
    "samples, reason",
    [
        (torch.zeros(32000), "no speech in 2.00 s, expected at least 1 s"),
        (torch.from_numpy(vowels(2.0)), r"\d\.\d\d s of speech in 2.00 s, expected at least 9 s"),
    ],
)
def test_too_little_speech_is_refused(samples, reason):
    with pytest.raises(ValueError, match=reason):
        remove_silence(samples, 16000, min_seconds=9 if samples.any() else 1)


def test_the_kind_of_a_file_is_told_by_content(tmp_path):
    face, voice = write_face(tmp_path / "a.jpg"), write_voice(tmp_path / "b.wav")
    os.rename(face, tmp_path / "a.wav")
    os.rename(voice, tmp_path / "b.jpg")
    assert media_kind(tmp_path / "a.wav") == "face" and media_kind(tmp_path / "b.jpg") == "voice"
    for name in ("c.mp3", "c.ogg", "c.flac"):
        soundfile.write(tmp_path / name, tone(), 16000)
        assert media_kind(str(tmp_path / name)) == "voice"
    Image.new("1", (20000, 20000)).save(tmp_path / "bomb.png")
    assert media_kind(tmp_path / "bomb.png") == "face"


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "empty file"),
        (b"neither of them", "neither an image nor audio that can be read; convert it to JPEG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
    ],
)
def test_files_of_no_kind_are_refused(tmp_path, content, reason):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=reason) as caught:
        media_kind(path)
    assert str(caught.value).startswith(f"{path}: ")
