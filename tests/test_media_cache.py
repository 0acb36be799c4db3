"""The cache of media: what is read from it is what is read from the files."""

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_fv.data.features import row_name
from speechbrain_fv.data.media_cache import CachedReader, MediaStore
from speechbrain_fv.data.readers import ImageReader, SpeechReader
from speechbrain_fv.training.media_cache import fill
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
