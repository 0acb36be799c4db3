"""A preparation that is asked for again: at once where nothing changed, and only there."""

import os

import pandas as pd
import pytest

from speechbrain_fv.corpora import own_data, repeats
from speechbrain_fv.corpora.own_data import prepare_own_data
from speechbrain_fv.corpora.scan import Scanner
from speechbrain_fv.data.manifests import load_manifests
from tests.media import write_face, write_voice


@pytest.fixture
def corpus(tmp_path):
    """Ten people with a face and a voice each, in a folder of their own."""
    rows = []
    for number in range(10):
        folder = tmp_path / "data" / f"p{number}"
        write_face(folder / "a.jpg", seed=number)
        write_voice(folder / "a.wav", seed=number)
        rows.append((f"p{number}", f"data/p{number}/a.jpg", f"data/p{number}/a.wav"))
    table = pd.DataFrame(rows, columns=["identity", "face", "wav"])
    table.to_csv(tmp_path / "clips.csv", index=False)
    return tmp_path


@pytest.fixture
def prepare(corpus, monkeypatch):
    """Returns whether a preparation looked at every file."""
    listed, real = [], own_data.read_clips
    monkeypatch.setattr(own_data, "read_clips", lambda file: listed.append(1) or real(file))

    def run(**options):
        listed.clear()
        scanner = Scanner(str(corpus / "cache"), vad=False, num_workers=0, max_excluded_share=0.2)
        prepare_own_data(corpus / "manifests", corpus / "clips.csv", scanner, **options)
        return bool(listed)

    return run


def test_nothing_is_listed_again_until_something_changes(corpus, prepare, monkeypatch):
    monkeypatch.setattr(repeats, "EVERY_FILE", 0)  # as in a large corpus
    assert prepare() and not prepare()
    assert prepare(seed=3) and not prepare(seed=3)
    write_voice(corpus / "new.wav", seed=77)
    os.replace(corpus / "new.wav", corpus / "data/p4/a.wav")  # as rsync does
    assert prepare(seed=3) and not prepare(seed=3)
    table = pd.read_csv(corpus / "clips.csv")
    table[:-1].to_csv(corpus / "clips.csv", index=False)
    assert prepare(seed=3)
    assert len(load_manifests(corpus / "manifests").identities) == 9
    (corpus / "manifests/excluded.csv").unlink()
    assert prepare(seed=3) and not prepare(seed=3)


def test_a_file_that_was_left_out_is_looked_at_when_it_is_repaired(corpus, prepare, monkeypatch):
    monkeypatch.setattr(repeats, "EVERY_FILE", 0)
    broken = corpus / "data/p4/a.wav"
    whole = broken.read_bytes()
    broken.write_bytes(b"")
    assert prepare() and not prepare()
    assert "p4" not in set(load_manifests(corpus / "manifests").identities.identity)
    broken.write_bytes(whole)  # in place: its folder keeps its stamp
    assert prepare()
    assert "p4" in set(load_manifests(corpus / "manifests").identities.identity)


def test_in_a_small_corpus_every_file_counts(corpus, prepare):
    assert prepare() and not prepare()
    write_voice(corpus / "data/p4/a.wav", seconds=3.0, seed=99)
    assert prepare() and not prepare()


def test_links_that_lead_back_do_not_list_for_ever(tmp_path):
    """Two such links in a folder made the listing double at each of 40 levels."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("up", "again"):
        (tmp_path / "a" / "b" / name).symlink_to(tmp_path)
    assert sorted(repeats._folders_below(tmp_path)) == [
        str(path) for path in (tmp_path, tmp_path / "a", tmp_path / "a" / "b")
    ]
