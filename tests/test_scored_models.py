"""Published models, galleries and figures that compare by another score than the cosine."""

import argparse
import json
import re
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from speechbrain_fv import scores
from speechbrain_fv.commands.matching import match
from speechbrain_fv.commands.output import ranking_lines
from speechbrain_fv.demo.answers import Comparer
from speechbrain_fv.demo.limits import Limits
from speechbrain_fv.evaluation.embeddings import load_embeddings
from speechbrain_fv.evaluation.exact import evaluate, load_metadata, save_report
from speechbrain_fv.figures.analysis import nearest_clips, score_histograms
from speechbrain_fv.figures.run_figures import report_run
from speechbrain_fv.inference import FaceVoiceAssociation
from speechbrain_fv.publish.card import model_card
from speechbrain_fv.publish.card_settings import read_settings
from speechbrain_fv.publish.export import export_bundle
from speechbrain_fv.search import Gallery
from tests.media import write_face, write_voice
from tests.scores import CosineOfCandidates, OneSided, SecretCosine

YAML = {
    "distance": "!new:speechbrain_fv.scores.NegativeL2 {normalize: True}",
    "pairs": "!new:speechbrain_fv.scores.PairNetwork {network: !new:torch.nn.Linear "
    "{in_features: 512, out_features: 1}}",
    "candidates": "!new:speechbrain_fv.scores.CandidateNetwork {directions: [V-F], network: "
    "!new:torch.nn.Linear {in_features: 768, out_features: 2}}",
}


def scored_run(run, folder, yaml, score):
    """Copies a training as if it had been one with a score, its evaluation with it."""
    shutil.copytree(run, folder)
    path = folder / "hyperparams.yaml"
    text = re.sub(r"^score:.*\n", "", path.read_text(), flags=re.MULTILINE)
    path.write_text(f"{text.rstrip()}\nscore: {yaml}\n")
    for checkpoint in (folder / "save").glob("CKPT*"):
        torch.save(score.state_dict(), checkpoint / "score.ckpt")
    report = json.loads((folder / "report.json").read_text())
    embeddings = load_embeddings(folder / "embeddings_test.npz")
    metadata = load_metadata(folder / "metadata_test.csv")
    again = evaluate(embeddings, metadata, num_replicates=10, score=score)
    again["training"] = report["training"]
    save_report(folder / "report.json", again)
    return folder


def made(name):
    """Returns a score of `YAML` with weights of its own."""
    torch.manual_seed(1)
    if name == "distance":
        return scores.NegativeL2(normalize=True)
    if name == "pairs":
        return scores.PairNetwork(torch.nn.Linear(512, 1))
    return scores.CandidateNetwork(torch.nn.Linear(768, 2), directions=["V-F"])


@pytest.fixture(scope="module")
def published(media_run, tmp_path_factory):
    """By name of a score: its run, its bundle's folder with a card, and the score."""
    found = {}
    for name, yaml in YAML.items():
        score = made(name)
        run = scored_run(media_run, tmp_path_factory.mktemp(name) / "run", yaml, score)
        folder = run.parent / "bundle"
        folder.mkdir()
        config = export_bundle(run, folder, "owner/small")
        report = json.loads((folder / "report.json").read_text())
        card = model_card(report, config, read_settings(run))
        (folder / "README.md").write_text(card)
        found[name] = run, folder, score
    return found


def clips():
    """Embeddings of faces and of voices."""
    return torch.randn(2, 6, 256, generator=torch.Generator().manual_seed(0))


def test_a_cosine_is_published_as_before(bundle_folder, media_run, tmp_path):
    """Whether or not the YAML of the training names it."""
    named = scored_run(
        media_run, tmp_path / "run", "!new:speechbrain_fv.scores.Cosine", scores.Cosine()
    )
    folder = tmp_path / "bundle"
    folder.mkdir()
    assert "score" not in export_bundle(named, folder, "owner/small")
    for file in ("hyperparams.yaml", "model.safetensors", "config.json"):
        assert (folder / file).read_bytes() == (bundle_folder / file).read_bytes()
    model = FaceVoiceAssociation.from_hparams(folder)
    assert type(model.score) is scores.Cosine


def test_distances_decide_and_rank(published):
    _, folder, _ = published["distance"]
    model = FaceVoiceAssociation.from_hparams(folder)
    config = json.loads((folder / "config.json").read_text())
    assert config["score"] == model.score.name == "NegativeL2(normalize=True)"
    assert model.threshold == config["calibration"]["threshold"] < 0
    faces, voices = clips()
    face, voice = (torch.nn.functional.normalize(side.double()) for side in (faces, voices))
    expected = -(face[:, None] - voice[None]).norm(dim=2)
    verdict = model.verify(faces, voices)
    torch.testing.assert_close(verdict.score.double(), expected.diagonal(), rtol=0, atol=1e-6)
    assert torch.equal(verdict.decision, verdict.score >= model.threshold)
    ranking = model.match(faces[0], voices)
    assert ranking.indices.tolist() == expected[0].argsort(descending=True).tolist()
    assert "NegativeL2(normalize=True) compares the two" in rendered(folder)


def rendered(folder):
    """Returns the text of a card without escapes."""
    text = (folder / "README.md").read_text()
    return re.sub("&#([0-9]+);", lambda found: chr(int(found[1])), text)


def test_a_network_of_pairs_keeps_its_weights_and_its_sides(published):
    _, folder, score = published["pairs"]
    state = load_file(folder / "model.safetensors")
    assert torch.equal(state["score.network.weight"], score.network.weight.detach())
    model = FaceVoiceAssociation.from_hparams(folder)
    faces, voices = clips()
    with torch.no_grad():
        expected = score(faces, voices)
        table = torch.stack([score(face.expand_as(voices), voices) for face in faces])
    torch.testing.assert_close(model.verify(faces, voices).score, expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match=r"direction: expected F-V or V-F beside embeddings"):
        model.match(faces[0], voices)
    ranking = model.match(faces[0], voices, "F-V")
    torch.testing.assert_close(ranking.scores, table[0].sort(descending=True).values)
    ranking = model.match(voices[2], faces, "V-F")
    torch.testing.assert_close(ranking.scores, table[:, 2].sort(descending=True).values)
    assert ranking.probabilities.shape == (6,)


def test_weights_of_a_score_are_loaded_strictly(published, tmp_path):
    _, folder, _ = published["pairs"]
    copied = shutil.copytree(folder, tmp_path / "copy")
    state = load_file(copied / "model.safetensors")
    for change, message in (
        ({"score.network.bias": None}, r"missing \['score.network.bias'\]"),
        ({"score.more": torch.ones(1)}, r"extra \['score.more'\]"),
        ({"score.network.bias": torch.ones(2)}, r"score.network.bias has the shape \(2,\)"),
    ):
        changed = {key: value for key, value in (state | change).items() if value is not None}
        save_file(changed, copied / "model.safetensors")
        with pytest.raises(ValueError, match=message):
            FaceVoiceAssociation.from_hparams(copied)


def test_a_score_of_candidates_does_what_it_can_and_says_what_not(published):
    _, folder, score = published["candidates"]
    config = json.loads((folder / "config.json").read_text())
    assert config["calibration"] is None and config["error_rates"] is None
    model = FaceVoiceAssociation.from_hparams(folder)
    faces, voices = clips()
    with pytest.raises(ValueError, match=r"^verify: this model cannot: .* gives one pair no score"):
        model.verify(faces, voices)
    with pytest.raises(ValueError, match=r"^match: .* ranks 2 candidates, no other number"):
        model.match(voices[0], faces, "V-F")
    with pytest.raises(ValueError, match=r"^match: .* compares in the direction V-F only"):
        model.match(faces[0], voices[:2], "F-V")
    with torch.no_grad():
        expected = score(voices[:3], faces[:2].expand(3, -1, -1), "V-F")
    ranking = model.match(voices[:3], faces[:2], "V-F")
    torch.testing.assert_close(ranking.scores, expected.sort(descending=True).values)
    assert ranking.probabilities is None and model.threshold is None
    with pytest.raises(ValueError, match=r"the page .* this model cannot: .* no score"):
        Comparer(model, Limits())
    with pytest.raises(ValueError, match=r"gallery: .* ranks 2 candidates, not a whole gallery"):
        Gallery(model)


def test_the_card_of_a_score_of_candidates_has_its_one_value(published):
    card = rendered(published["candidates"][1])
    assert "### 1:2 matching, V-F" in card and "1:2 matching, F-V" not in card
    for absent in ("### Verification", "### Retrieval", "### Error rates", "At its threshold"):
        assert absent not in card
    assert "- verification: undefined, CandidateNetwork(directions=['V-F']) ranks 2" in card
    assert "there is no probability and no decision" in card


def test_a_command_ranks_two_candidates_without_a_probability(published, tmp_path):
    _, folder, _ = published["candidates"]
    write_voice(tmp_path / "voice.wav", seed=1)
    images = [write_face(tmp_path / f"{seed}.jpg", seed) for seed in range(2)]
    options = argparse.Namespace(
        probe=str(tmp_path / "voice.wav"),
        candidates=[str(path) for path in images],
        model=str(folder),
        device=None,
        revision=None,
        token=None,
        savedir=None,
        trust_remote_code=False,
        detect_faces=False,
        skip_broken=False,
        also=[],
        weighted=False,
    )
    outcome = match(options)
    assert [row["probability"] for row in outcome.data["ranking"]] == [None, None]
    assert [row["decision"] for row in outcome.data["ranking"]] == [None, None]
    json.dumps(outcome.data, allow_nan=False)
    assert "  -" in outcome.lines[2]
    row = {"rank": 1, "file": "a", "score": 1.0, "probability": None}
    assert ranking_lines([row], "file")[1].endswith("-")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": None}, r"score: expected Cosine as in config\.json, got NegativeL2"),
        ({"score": "Cosine"}, r"score: expected Cosine as in config\.json, got NegativeL2"),
        ({"score": 7}, r"config\.json: score: expected the name of the score"),
        ({"calibration": None, "error_rates": None}, "needs a calibration in config.json"),
        ({"calibration": {"slope": 1, "intercept": 0, "threshold": 1e12}}, "calibration: expected"),
    ],
)
def test_a_configuration_that_contradicts_the_score_is_refused(
    change, message, published, tmp_path
):
    copied = shutil.copytree(published["distance"][1], tmp_path / "copy")
    config = json.loads((copied / "config.json").read_text()) | change
    config["calibration"] = config["calibration"] and config["calibration"] | {"threshold": 0.5}
    if "calibration" in change:
        config["calibration"] = change["calibration"]
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        FaceVoiceAssociation.from_hparams(copied)


def test_a_score_that_does_not_fit_the_embeddings_is_refused(published, tmp_path):
    copied = shutil.copytree(published["pairs"][1], tmp_path / "copy")
    path = copied / "hyperparams.yaml"
    path.write_text(path.read_text().replace("in_features: 512", "in_features: 100"))
    with pytest.raises(ValueError, match="not the weights|has the shape"):
        FaceVoiceAssociation.from_hparams(copied)
    state = load_file(copied / "model.safetensors")
    state["score.network.weight"] = torch.ones(1, 100)
    save_file(state, copied / "model.safetensors")
    with pytest.raises(ValueError, match="score: PairNetwork cannot compare embeddings of shape"):
        FaceVoiceAssociation.from_hparams(copied)


def test_a_class_of_the_users_own_is_not_published(media_run, tmp_path):
    yaml = "!new:tests.scores.SecretCosine"
    run = scored_run(media_run, tmp_path / "run", yaml, SecretCosine())
    with pytest.raises(
        ValueError,
        match=r"its model cannot be published, since nobody .*!new:tests\.scores\.SecretCosine is",
    ) as caught:
        export_bundle(run, tmp_path, "owner/small")
    assert "trust_remote_code" not in str(caught.value)  # which publishing does not have


# Galleries


def vectors(count, dim=8, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32) * 3


def test_a_gallery_finds_the_least_distances(tmp_path):
    faces, voices = vectors(300), vectors(7, seed=1)
    gallery = Gallery("version 1", embedding_dim=8, score=scores.NegativeL2())
    ids = [f"f{row}" for row in range(300)]
    gallery.add_face(ids[:200], faces[:200])
    gallery.add_face(ids[200:], faces[200:])
    gallery.remove(["f3", "f250"])
    alive = [row for row in range(300) if row not in (3, 250)]
    distances = np.linalg.norm(voices.astype(float)[:, None] - faces[None], axis=2)
    order = np.argsort(distances[:, alive], axis=1, kind="stable")[:, :20]
    gallery.save(tmp_path / "gallery")
    saved = Gallery.load(tmp_path / "gallery", "version 1")
    for found in (gallery.query_voice(voices, 20), saved.query_voice(voices, 20)):
        assert found.ids == [[ids[alive[column]] for column in row] for row in order]
        expected = -np.take_along_axis(distances[:, alive], order, axis=1)
        np.testing.assert_allclose(found.scores, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="expected it, got Cosine; pass the model, or the score"):
        Gallery.load(tmp_path / "gallery", "version 1", score=scores.Cosine())


def test_a_gallery_of_pairs_knows_the_sides_and_the_order_of_equals():
    faces, voices = vectors(40), vectors(30, seed=1)
    faces[7] = faces[2]
    gallery = Gallery.from_embeddings("v", face=faces, voice=voices)
    pairs = Gallery("v", embedding_dim=8, score=OneSided())
    pairs.add_face(gallery.face_ids, faces)
    pairs.add_voice(gallery.voice_ids, voices)
    table = scores.frozen(OneSided()).table(torch.tensor(faces), torch.tensor(voices)).numpy()
    by_voice = pairs.query_voice(voices[4], 40)
    assert by_voice.ids == [f"face {row}" for row in np.argsort(-table[:, 4], kind="stable")]
    by_face = pairs.query_face(faces[4], 3)
    assert by_face.ids == [f"voice {row}" for row in np.argsort(-table[4], kind="stable")[:3]]
    with pytest.raises(ValueError, match="kind: expected auto or exact with the score OneSided"):
        Gallery("v", embedding_dim=8, score=OneSided(), kind="coded")


def test_a_gallery_of_one_direction_refuses_the_other():
    gallery = Gallery("v", embedding_dim=8, score=scores.Cosine(directions=["V-F"]))
    gallery.add_face(["a"], vectors(1))
    gallery.add_voice(["b"], vectors(1))
    assert gallery.query_voice(vectors(1)[0]).ids == ["a"]
    with pytest.raises(ValueError, match="query_face: .* compares in the direction V-F only"):
        gallery.query_face(vectors(1)[0])


# Figures


def test_figures_take_the_score_that_the_report_names(published):
    run, _, _ = published["distance"]
    embeddings = load_embeddings(run / "embeddings_test.npz")
    counts = score_histograms(embeddings, score=scores.NegativeL2(normalize=True))
    assert -2 <= counts["edges"][0] < counts["edges"][-1] <= 0
    assert counts["positives"].sum() == 100
    (row, *_) = nearest_clips(embeddings, "V-F", 1, score=OneSided())
    table = scores.frozen(OneSided()).table(
        torch.tensor(embeddings.face), torch.tensor(embeddings.voice[[row.query]])
    )
    assert row.gallery.tolist() == table[:, 0].argsort(descending=True)[:5].tolist()
    figures, missing = report_run(run)
    captions = {figure.name: figure.caption for figure in figures}
    assert captions["scores"].startswith("NegativeL2(normalize=True) scores of all")
    assert "Scores of pairs" not in missing


def test_figures_that_a_score_cannot_have_are_missing_with_the_reason(published, tmp_path):
    run, _, score = published["candidates"]
    figures, missing = report_run(run, tmp_path, score=score)
    assert "matching" in {figure.name for figure in figures}
    for title in ("Verification", "ROC curves", "Scores of pairs"):
        assert "gives one pair no score" in missing[title]
    assert "not a whole gallery" in missing["Retrieval, voice to face"]
    page = (tmp_path / "report.html").read_text()
    assert "ranks 2 candidates and gives one pair no score" in page
    _, missing = report_run(run, tmp_path)  # without its weights
    assert "has weights that are not in its files" in missing["Scores of pairs"]


def test_figures_of_candidates_have_one_point(published, tmp_path):
    embeddings = load_embeddings(published["candidates"][0] / "embeddings_test.npz")
    report = evaluate(embeddings, num_replicates=0, score=CosineOfCandidates(3))
    save_report(tmp_path / "report.json", report)
    figures, _ = report_run(tmp_path)
    assert [figure.name for figure in figures] == ["matching"]
