"""Manifests of a corpus that has lost a few files since it was first prepared."""

from speechbrain_fv.data.lost_clips import with_lost
from speechbrain_fv.data.manifests import content_key, load_manifests
from tests.test_manifests import corpus, write


def test_a_corpus_that_lost_a_few_files_goes_on_with_its_manifests(tmp_path, caplog):
    """A copied corpus without one of its files could not be trained on any further."""
    faces, voices, identities = corpus()
    write(tmp_path, faces, voices, identities)
    earlier = load_manifests(tmp_path)
    moved = faces.assign(image="/elsewhere/x.jpg")

    def now(faces, voices=voices):
        write(tmp_path, faces, voices, identities)
        return load_manifests(tmp_path)

    kept = with_lost(earlier, now(moved[1:]), 1)
    assert content_key(kept) == content_key(earlier)
    assert kept.faces["train"].image.tolist() == ["/faces/x.jpg", *["/elsewhere/x.jpg"] * 3]
    assert "1 files are lost since the training began, of at most 1 (lost_files)" in caplog.text
    assert with_lost(earlier, now(moved[1:], voices[:-1]), 1) is None
    assert with_lost(earlier, now(moved, voices.assign(stop=32001)), 9) is None
    there = tmp_path / "cut_off.jpg"
    there.touch()
    earlier = now(faces.assign(image=[str(there), *faces.image[1:]]))
    assert with_lost(earlier, now(moved[1:]), 1) is None
    assert with_lost(earlier, now(moved[1:]), 1, {str(there)}) is not None
    assert with_lost(now(faces[1:]), now(faces), 9) is None


def test_a_person_who_lost_the_last_face_takes_part_with_the_voices(tmp_path):
    """The preparation leaves such a person out, with voices that nobody has lost."""
    faces, voices, identities = corpus()
    voice = tmp_path / "voice.wav"
    voice.touch()
    voices = voices.assign(wav=str(voice))

    def now(faces, voices=voices):
        write(tmp_path, faces, voices, identities)
        return load_manifests(tmp_path)

    earlier = now(faces)
    kept = with_lost(earlier, now(faces[2:]), 1)  # two rows of one file
    assert content_key(kept) == content_key(earlier)
    assert with_lost(earlier, now(faces[2:], voices[:-1]), 9) is None
    faces = faces.assign(image=str(voice))
    assert with_lost(now(faces), now(faces, voices[2:]), 9) is None  # all files are there
