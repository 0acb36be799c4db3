"""The contact sheet shows what the first training batch holds, and costs it no random number."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from speechbrain_fv import distributed
from speechbrain_fv.corpora.joined import JoinedReader
from speechbrain_fv.data.manifests import Manifests
from speechbrain_fv.data.pairs import clip_dataset, finished, training_loader
from speechbrain_fv.data.readers import EmbeddingReader, ImageReader, SpeechReader
from speechbrain_fv.data.samplers import PairSampler
from speechbrain_fv.figures.run_files import RunFiles
from speechbrain_fv.figures.seen_clips import first_pairs, save_seen_clips
from tests.media import write_face, write_voice

PEOPLE = [f"p{number:02d}" for number in range(12)]
READERS = {"face": ImageReader(24, 32), "voice": SpeechReader(0.2)}


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    """A face and a voice of each of twelve people, all in training."""
    folder = tmp_path_factory.mktemp("media")
    clips = pd.DataFrame({"ID": PEOPLE, "spk_id": PEOPLE})
    faces = [str(write_face(folder / f"{n}.jpg", seed=n)) for n in range(len(PEOPLE))]
    voices = [str(write_voice(folder / f"{n}.wav", 0.5, seed=n)) for n in range(len(PEOPLE))]
    spans = {"start": 0, "stop": 8000, "speech": ""}
    return Manifests(
        {"train": clips.assign(image=faces)},
        {"train": clips.assign(wav=voices, **spans)},
        None,
        {},
    )


def settings(folder, readers=READERS):
    corpus = {f"{modality}_reader": reader for modality, reader in readers.items()}
    sampler = partial(PairSampler, batch_size=11, steps_per_epoch=2, seed=5)
    return {"corpus": corpus, "sampler": sampler, "output_folder": folder}


def test_the_sheet_holds_the_first_pairs_of_the_first_batch(manifests, tmp_path):
    hparams = settings(tmp_path)
    tables = {"face": manifests.faces["train"], "voice": manifests.voices["train"]}
    sampler = hparams["sampler"](*tables.values())
    sampler.set_epoch(1)
    sets = [clip_dataset(tables[modality], modality, READERS[modality], {}) for modality in tables]
    batch = finished(next(iter(training_loader(*sets, sampler))), READERS)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()
    seen = first_pairs(hparams, manifests)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]
    assert seen.face_identity.tolist() == batch.face_identity[:10]
    assert seen.voice_identity.tolist() == batch.voice_identity[:10]
    faces = READERS["face"].finish(torch.from_numpy(seen.faces).permute(0, 3, 1, 2))
    assert torch.equal(faces, batch.face[:10])
    assert seen.voices / 2**15 == pytest.approx(batch.voice.data[:10].numpy(), abs=2**-15)
    assert seen.rate == 16000


def test_of_several_processes_it_holds_the_batch_of_the_first(manifests, tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "world", lambda: (0, 2))
    hparams = settings(tmp_path)
    tables = manifests.faces["train"], manifests.voices["train"]
    sampler = hparams["sampler"](*tables, rank=0, num_processes=2)
    sampler.set_epoch(1)
    images = tables[0].image
    drawn = [READERS["face"].raw(images[row], draw) for row, _, draw in next(iter(sampler))][:10]
    seen = torch.from_numpy(first_pairs(hparams, manifests).faces).permute(0, 3, 1, 2)
    assert torch.equal(seen, torch.stack(drawn))  # cut and mirrored alike


def test_it_is_kept_with_the_run(manifests, tmp_path):
    save_seen_clips(settings(tmp_path), manifests)
    kept, seen = RunFiles(tmp_path).seen, first_pairs(settings(tmp_path), manifests)
    assert np.array_equal(kept.faces, seen.faces) and kept.faces.shape == (10, 24, 24, 3)
    assert np.array_equal(kept.voices, seen.voices) and kept.voices.shape == (10, 3200)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))
    assert files == ["figures/contact_sheet.pdf", "figures/contact_sheet.png", "seen_clips.npz"]


def test_vectors_have_no_picture_and_a_joined_corpus_has_that_of_its_own(manifests, tmp_path):
    vectors = EmbeddingReader("e.npz", "ids", "vectors")
    seen = first_pairs(settings(tmp_path, {**READERS, "face": vectors}), manifests)
    assert seen.faces is None and len(seen.voices) == 10
    part = {f"{modality}_reader": reader for modality, reader in READERS.items()}
    joined = {modality: JoinedReader({"a": part}, f"{modality}_reader") for modality in READERS}
    prefixed = (
        {"train": tables["train"].assign(ID="a/" + tables["train"].ID)}
        for tables in (manifests.faces, manifests.voices)
    )
    assert np.array_equal(
        first_pairs(settings(tmp_path, joined), Manifests(*prefixed, None, {})).faces,
        first_pairs(settings(tmp_path), manifests).faces,
    )


def test_a_file_that_is_gone_stops_no_training(manifests, tmp_path, caplog):
    faces = manifests.faces["train"].assign(image="gone.jpg")
    save_seen_clips(settings(tmp_path), replace(manifests, faces={"train": faces}))
    assert "contact sheet: not drawn: gone.jpg: cannot be read" in caplog.text
    assert not list(tmp_path.iterdir())
