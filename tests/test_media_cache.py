"""The cache of media: what is read from it is what is read from the files."""

import numpy as np
import pytest
import soundfile
import torch
from torchvision.transforms import v2

from speechbrain_fv.data.features import row_name
from speechbrain_fv.data.media_cache import CachedReader, MediaStore
from speechbrain_fv.data.readers import EmbeddingReader, ImageReader, SpeechReader
from speechbrain_fv.training.media_cache import fill, use_cache
from tests.media import write_face, write_voice

SPEECH = "1000:9000;12000:30000"


@pytest.fixture
def clips(tmp_path):
    """By modality a reader, the type of what is kept, and what the reader takes of some clips."""
    faces = [write_face(tmp_path / f"{n}.jpg", seed=n, size=48 + 8 * n) for n in range(4)]
    voices = [write_voice(tmp_path / f"{n}.wav", seed=n) for n in range(3)]
    of_voices = {"start": 0, "stop": 32000, "speech": SPEECH}
    return {
        "face": (ImageReader(24, 28), "uint8", [{"image": str(path)} for path in faces]),
        "voice": (
            SpeechReader(1.0),
            "int16",
            [{"wav": str(path), **of_voices} for path in voices],
        ),
    }


def cached(folder, reader, dtype, taken, num_workers=0):
    """The store of some clips, filled, and the reader from it."""
    store = MediaStore(folder / dtype, {"dtype": dtype})
    wanted = {f"c{n}": ([row_name(n)], facts) for n, facts in enumerate(taken)}
    fill(store, wanted, reader, num_workers)
    rows = store.rows([name for (name,), _ in wanted.values()])
    by_clip = {clip: rows[name] for clip, ((name,), _) in wanted.items()}
    return store, CachedReader(reader, store.arrays(), by_clip)


@pytest.mark.parametrize("modality", ["face", "voice"])
def test_a_clip_is_read_as_from_its_file(clips, tmp_path, modality):
    reader, dtype, taken = clips[modality]
    _, from_cache = cached(tmp_path, reader, dtype, taken, num_workers=1)
    for n, facts in enumerate(taken):
        for draw in (None, 1, 2, 3):
            expected = reader(**facts, draw=draw)
            assert torch.equal(from_cache(f"c{n}", draw), expected)
            batch = torch.stack([from_cache.raw(f"c{n}", draw)] * 2)
            assert batch.dtype == getattr(torch, dtype)
            assert torch.equal(from_cache.finish(batch)[1], expected)


def test_what_cannot_be_kept_in_16_bits_is_rounded_to_them(tmp_path):
    samples = np.array([[0.9, 0.8], [-1.0, -1.0], [1e-5, 0.0]] * 3000, np.float32)
    soundfile.write(tmp_path / "stereo.wav", samples, 16000, subtype="FLOAT")
    reader = SpeechReader(0.1)
    facts = {"wav": str(tmp_path / "stereo.wav"), "start": 0, "stop": 9000, "speech": ""}
    _, from_cache = cached(tmp_path, reader, "int16", [facts])
    difference = from_cache("c0", None) - reader(**facts, draw=None)
    assert 0 < difference.abs().max() <= 2**-16


def test_a_killed_filling_goes_on_and_damage_is_mended(clips, tmp_path, caplog):
    reader, dtype, taken = clips["face"]
    store, _ = cached(tmp_path, reader, dtype, taken[:2])
    size = store.vectors_path.stat().st_size
    with open(store.vectors_path, "ab") as file:  # killed before the entries were written
        file.write(b"torn")
    store, from_cache = cached(tmp_path, reader, dtype, taken)
    assert store.num_rows == 4
    content = bytearray(store.vectors_path.read_bytes())
    content[size - 1] ^= 1
    store.vectors_path.write_bytes(content)
    store, from_cache = cached(tmp_path, reader, dtype, taken)
    assert "1 damaged rows" in caplog.text and store.num_rows == 5
    for n, facts in enumerate(taken):
        assert torch.equal(from_cache(f"c{n}", 7), reader(**facts, draw=7))
    caplog.clear()
    cached(tmp_path, reader, dtype, taken)
    assert "damaged" not in caplog.text  # known, and its clip has another row


def test_rows_that_come_while_others_are_compared_are_compared_later(tmp_path):
    about, names = {"dtype": "uint8"}, [row_name("first"), row_name("second")]
    writer, reader = (MediaStore(tmp_path / "s", about) for _ in range(2))
    with writer.filling():
        writer.add(names[:1], [np.arange(6)])
    reader._open()
    entries = np.fromfile(reader.index_path, reader.entry)
    with writer.filling():
        writer.add(names[1:], [np.arange(6)])
    content = bytearray(writer.vectors_path.read_bytes())
    content[-1] ^= 1
    writer.vectors_path.write_bytes(content)
    assert reader._damaged(entries, [0]) == set()
    assert MediaStore(tmp_path / "s", about).rows(names) == {names[0]: 0}


def test_a_folder_that_cannot_be_used_and_one_without_use_are_told(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    store = MediaStore(tmp_path / "file" / "s", {"dtype": "uint8"})
    told = pytest.raises(ValueError, match="media cannot be kept .*choose another media_cache")
    with told, store.filling():
        pass
    vectors = {"face_reader": EmbeddingReader("v.npz", "id", "face")}
    vectors["voice_reader"] = vectors["face_reader"]
    use_cache({"media_cache": str(tmp_path), "corpus": vectors}, "", None)
    assert "media_cache: not used" in caplog.text


def test_images_are_normalised_as_by_torchvision_without_new_constants():
    reader, pixels = ImageReader(2, 2), torch.randint(256, (3, 3, 2, 2), dtype=torch.uint8)
    scaled = v2.functional.to_dtype(pixels, torch.float32, scale=True)
    expected = v2.functional.normalize(scaled, reader.mean, reader.std)
    assert torch.equal(reader.finish(pixels), expected)
    with torch.profiler.profile() as profile:  # a GPU would be waited for at each
        reader.finish(pixels)
    assert not {"aten::lift_fresh", "aten::item"} & {event.key for event in profile.key_averages()}
