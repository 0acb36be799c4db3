"""The model card: complete or refused, valid for the hub, and safe whatever the texts hold."""

import copy
import itertools
import json

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load
from markdown_it import MarkdownIt

from speechbrain_fv.bundles.config import CAUTIONS
from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.exact import evaluate
from speechbrain_fv.evaluation.groups import evaluate_groups
from speechbrain_fv.publish.card import model_card
from speechbrain_fv.publish.card_settings import choose_license, read_settings

ATTACK = (
    "<script>alert(1)</script> | `x` **b** _i_ [l](http://evil.example) ![i](//evil.example/i)\n"
    "---\n# Title\nwww.evil.example &amp; ~~s~~ \u202e{{ 7 * 7 }} {% raw %} \x01"
)
UNUSED = {"roc", *map(str, range(4, 11))}  # entries of a report of which there are very many
PEOPLE = [f"p{number:02}" for number in range(24)]


def write_run(folder, corpus="embedded", face="", voice="", **options):
    """Writes what a card's settings are read from."""
    splits = {"train": 100, "valid": 20, "test": 1024}
    counts = {
        split: {"num_identities": number, "num_faces": 3 * number, "num_voices": 4 * number}
        for split, number in splits.items()
    }
    (folder / "manifests").mkdir()
    preparation = {"corpus": corpus, "splits": counts, "options": options}
    (folder / "manifests" / "preparation.json").write_text(json.dumps(preparation))
    (folder / "hyperparams.yaml").write_text(
        f"face: {{model: resnet18, network: !apply:os.abort [], {face}}}\n"
        f"voice: {{network: !new:speechbrain_fv.encoders.DimnetVoice {{}}, {voice}}}\n"
    )
    return folder


def make_report(nationality="Dorland", metadata=True):
    """Returns a report of random embeddings, and a configuration with its error rates."""
    rng = np.random.default_rng(0)
    who = np.repeat(PEOPLE, 2)
    vectors = rng.normal(size=(2, len(who), 8)) + np.repeat(rng.normal(size=(24, 8)), 2, axis=0)
    embeddings = Embeddings(*vectors, who, who)
    table = pd.DataFrame({"identity": PEOPLE, "gender": ["f", "m"] * 12, "age": ["20s"] * 24})
    table["nationality"] = [nationality] * 20 + ["Borea"] * 3 + [""]
    report = evaluate(embeddings, table if metadata else None, num_replicates=50)
    report["training"] = {"num_epochs": 8, "num_steps": 160, "best_epoch": 7}
    if metadata:
        report["groups"] = evaluate_groups(embeddings, table, num_replicates=50)
    rates = {
        name: node
        and {
            "false_accept": 0.31,
            "false_accept_interval": [0.25, 0.375],
            "false_reject": 0.29,
            "false_reject_interval": [0.2, 0.4],
            "num_positives": node["num_positives"],
            "num_negatives": node["num_negatives"],
        }
        for name, node in report["verification"].items()
    }
    config = {
        "name": "owner/bipcm_fst",
        "version": "0123456789abcdef",
        "embedding_dim": 256,
        "face_input": "image",
        "voice_input": "speech",
        "image_size": 64,
        "sample_rate": 16000,
        "clip_seconds": 2.0,
        "remove_silence": True,
        "calibration": {"slope": 9.5, "intercept": -1.25, "threshold": 0.125},
        "error_rates": rates,
    }
    return json.loads(json.dumps(report)), config


@pytest.fixture(scope="module")
def evaluated():
    return make_report()


@pytest.fixture
def settings(tmp_path):
    return read_settings(write_run(tmp_path))


def rendered(card):
    """Returns the tokens of a card's Markdown, as the hub shows it, without its metadata."""
    return MarkdownIt("gfm-like", {"linkify": False}).parse(ModelCard(card).text)


def tables(card):
    """Returns the tables of a card by the heading above each: rows of text."""
    found, heading = {}, ""
    for token, content in itertools.pairwise(rendered(card)):
        if token.type == "heading_open":
            heading = content.content
        elif token.type == "tr_open":
            found.setdefault(heading, []).append([])
        elif token.type in ("td_open", "th_open"):
            text = "".join(part.content for part in content.children)
            found[heading][-1].append(text)
    return found


def test_the_hub_can_read_it(evaluated, settings, tmp_path):
    path = tmp_path / "README.md"
    path.write_text(model_card(*evaluated, settings), encoding="utf-8")
    metadata = metadata_load(path)
    assert metadata["license"] == "apache-2.0" and metadata["library_name"] == "speechbrain"
    results = ModelCard.load(path).data.eval_results
    of_hub = {
        (result.dataset_config, result.metric_type): result.metric_value for result in results
    }
    report = evaluated[0]
    expected = {("F-V", "accuracy"): report["matching"]["F-V"]["U"]["2"]["accuracy"]}
    expected["V-F", "mean_average_precision"] = report["retrieval"]["V-F"]["map"]
    for stratum, node in report["verification"].items():
        expected[stratum, "roc_auc"], expected[stratum, "eer"] = node["auc"], node["eer"]
    for place, value in expected.items():
        assert of_hub[place] == pytest.approx(value, abs=5e-5)


def test_every_table_shows_the_values_of_the_report(evaluated, settings):
    report, config = evaluated
    shown = tables(model_card(report, config, settings))
    assert all(len({len(row) for row in rows}) == 1 for rows in shown.values())

    def percent(node, name):
        low, high = node[f"{name}_interval"]
        return f"{100 * node[name]:.2f} [{100 * low:.1f}, {100 * high:.1f}]"

    verification = {row[0]: row[1:] for row in shown["Verification"][1:]}
    assert list(verification) == ["U", "G", "N", "A", "GN", "GNA"]
    for stratum, node in report["verification"].items():
        counts = [f"{node[name]:,}" for name in ("num_positives", "num_negatives")]
        assert verification[stratum] == [percent(node, "auc"), percent(node, "eer"), *counts]
    for direction, strata in report["matching"].items():
        rows = {row[0]: row[1:] for row in shown[f"1:2 matching, {direction}"][1:]}
        for stratum, node in strata.items():
            assert rows[stratum] == [percent(node["2"], "accuracy"), str(node["2"]["num_probes"])]
    for row, (direction, node) in zip(
        shown["Retrieval"][1:], report["retrieval"].items(), strict=True
    ):
        chance = f"{100 * node['chance_map']:.2f}"
        assert row[0].startswith(direction)
        assert row[1:] == [percent(node, "map"), chance, "48", "48"]
    for row in shown["Error rates"][1:]:
        assert row[1:3] == ["31.00 [25.0, 37.5]", "29.00 [20.0, 40.0]"]
        assert row[3:] == verification[row[0]][:1:-1]  # pairs of two first
    assert shown["Data"][3] == ["test", "1,024", "3,072", "4,096"]
    groups = {row[0]: row[1:] for row in shown["Within groups: nationality"][1:]}
    node = report["groups"]["nationality"][0]
    assert groups["Dorland"][:3] == ["20", percent(node, "auc"), percent(node, "eer")]
    assert groups["other (1)"][:3] == ["3", "too few people", "too few people"]
    assert groups["unknown"][:3] == ["1", "not scored", "not scored"]


def test_it_says_what_the_model_is_for(evaluated, settings):
    card = model_card(*evaluated, settings)
    paragraphs = card.split("\n\n")
    title = next(place for place, text in enumerate(paragraphs) if text.startswith("# "))
    assert paragraphs[title + 1] == f"**{CAUTIONS['embedded']}**"
    for words in (
        'from_hparams(source="owner/bipcm_fst")',
        'source="owner/bipcm_fst", pymodule_file="custom.py", classname="FaceVoiceAssociation"',
        "this model knows nothing of real people",
        "**Do not use it** to identify or to recognise anyone, for surveillance",
        "31.00 [25.0, 37.5] % of the pairs of two different people",
        "of two people of the same gender, nationality and age group it takes 31.00",
        "1 / (1 + exp(-(9.500 x score - 1.250))), and scores from 0.125 on",
        "training heard 2 s at a time, without silence",
        "Trained for 160 steps",
        "Zhu, Liu, Yu, Xu, Zheng",
        "The weights: apache-2.0",
    ):
        assert words in card
    assert "Negative control" not in card and "Training began with" not in card


def test_undefined_strata_say_why(settings):
    report, config = make_report(metadata=False)
    card = model_card(report, config, settings)
    assert "**G**: of the same gender. Undefined: no metadata, which G needs for gender" in card
    rows = {row[0]: row[1:] for row in tables(card)["Error rates"][1:]}
    assert rows["GN"] == ["undefined"] * 4 and rows["U"][0] == "31.00 [25.0, 37.5]"
    assert "Not measured: the gender, nationality and age of the test people" in card
    del report["reasons"]["matching/V-F/N"]
    with pytest.raises(ValueError, match="no reason for the undefined matching/V-F/N"):
        model_card(report, config, settings)


def leaves(node, path=()):
    """Yields the path of every value in nested dicts and lists, and of what holds them."""
    children = node.items() if isinstance(node, dict) else enumerate(node)
    for name, child in children:
        yield (*path, name)
        if isinstance(child, dict | list):
            yield from leaves(child, (*path, name))


def test_a_missing_value_is_an_error_or_was_not_shown(evaluated, settings):
    """Each entry of report and configuration is taken out in turn: the card is never poorer."""
    whole, refused = model_card(*evaluated, settings), 0
    everything = [
        (number, path)
        for number, content in enumerate(evaluated)
        for path in leaves(content)
        if isinstance(path[-1], str) and not UNUSED & set(path)
    ]
    for number, path in everything:
        contents = copy.deepcopy(evaluated)
        holder = contents[number]
        for name in path[:-1]:
            holder = holder[name]
        del holder[path[-1]]
        try:
            card = model_card(*contents, settings)
        except ValueError as error:
            refused += 1
            assert "report.json" in str(error) or "config.json" in str(error), path
        else:
            # A stratum or group that the evaluation did not have is no gap.
            optional = path[-1] in ("U", "G", "N", "A", "GN", "GNA") or path[0] == "groups"
            assert card == whole or optional, path
    assert refused > 100


def test_no_text_can_change_the_page(tmp_path):
    report, config = make_report(nationality=ATTACK)
    report["verification"]["GNA"], config["error_rates"]["GNA"] = None, None
    report["reasons"]["verification/GNA"] = ATTACK
    folder = write_run(tmp_path, corpus=ATTACK, voice="source: '**bold**|'", face="")
    settings = read_settings(folder, license="my own", data=ATTACK)
    plain = read_settings(folder, license="my own", data="plain")
    harmless = make_report()
    harmless[0]["verification"]["GNA"], harmless[1]["error_rates"]["GNA"] = None, None
    harmless[0]["reasons"]["verification/GNA"] = "plain"

    def structure(tokens):
        types = [token.type for token in tokens]
        parts = [part for token in tokens for part in token.children or []]
        return types, [part.type for part in parts], [part.attrs.get("href") for part in parts]

    card = model_card(report, config, settings)
    assert structure(rendered(card)) == structure(rendered(model_card(*harmless, plain)))
    html = MarkdownIt("gfm-like", {"linkify": False}).render(ModelCard(card).text)
    assert "<script" not in html and "<img" not in html and "7 * 7" in html
    assert "\u202e" not in card and "\x01" not in card
    assert "evil.example" not in ModelCard(card).text and "evil.example" in html
    path = tmp_path / "README.md"
    path.write_text(card, encoding="utf-8")
    assert metadata_load(path)["license_name"] == "my-own"


@pytest.mark.parametrize(
    "name", ["", "a/b/c", '"); import os', "owner/na me", "../x", "owner/name\n", "a\\b"]
)
def test_names_that_are_no_names(evaluated, settings, name):
    report, config = evaluated
    with pytest.raises(ValueError, match="name: expected owner/name, got"):
        model_card(report, {**config, "name": name}, settings)


def test_models_of_vectors(evaluated, settings):
    report, config = evaluated
    changed = {**config, "face_input": "vector", "voice_input": "vector"}
    for name in ("image_size", "sample_rate", "clip_seconds"):
        changed[name] = None
    card = model_card(report, changed, settings)
    assert "model.verify(face, voice)" in card and "verify_files" not in card
    assert "model.encode_face(faces), model.encode_voice(voices)" in card  # verify takes no vectors
    assert "a vector computed from a face and a vector computed from a voice" in card


def test_first_weights_are_named_without_their_folder(tmp_path):
    folder = write_run(
        tmp_path,
        face="checkpoint: /home/someone/secret/resnet18.safetensors",
        voice="pretrained: speechbrain/spkrec-ecapa-voxceleb",
    )
    with pytest.raises(ValueError, match=r"weights of resnet18\.safetensors, speechbrain/spkrec"):
        read_settings(folder)
    settings = read_settings(folder, license="cc-by-nc-4.0")
    assert settings.sources == ("resnet18.safetensors", "speechbrain/spkrec-ecapa-voxceleb")
    card = model_card(*make_report(), settings)
    assert "Training began with the weights of resnet18&#46;safetensors, speechbrain/spk" in card
    assert "secret" not in card


def test_a_negative_control_says_so(evaluated, tmp_path):
    settings = read_settings(write_run(tmp_path, shuffle_voices=True))
    assert "This model must be at chance" in model_card(*evaluated, settings)


def test_own_data_are_described_by_their_owner(evaluated, tmp_path):
    folder = write_run(tmp_path, corpus="own_data")
    for data in (None, " \n"):
        with pytest.raises(
            ValueError, match=r"^--data: expected a text .* 'own_data': whose faces"
        ):
            read_settings(folder, license="mit", data=data)
    with pytest.raises(ValueError, match=r"^--license: .* come from the corpus 'own_data', whose"):
        read_settings(folder, data="Forty colleagues, who agreed in writing.")
    settings = read_settings(folder, license="MIT", data="Forty colleagues, who agreed in writing.")
    card = model_card(*evaluated, settings)
    assert "Forty colleagues, who agreed in writing." in card and "invented" not in card
    assert "real people" not in card
    assert "The weights: mit." in card and "The terms of the data hold beside it." in card


@pytest.mark.parametrize(
    ("license", "corpus", "expected"),
    [
        (None, "embedded", "apache-2.0"),
        ("CC-BY-4.0", "embedded", "cc-by-4.0"),
        ("Our Terms 1.0", "own_data", "Our Terms 1.0"),
    ],
)
def test_licences(license, corpus, expected):
    assert choose_license(license, corpus) == expected


@pytest.mark.parametrize("license", ["", "x", "mit\nfoo: bar", "<b>", "a" * 70])
def test_licences_that_are_none(license):
    with pytest.raises(ValueError, match="--license: expected a short name"):
        choose_license(license, "embedded")


def test_voxceleb_needs_a_licence():
    with pytest.raises(ValueError, match="whose terms decide what may be published"):
        choose_license(None, "voxceleb_vggface")


@pytest.mark.parametrize("method", ["", "bipcm_plus", "triplet"])
def test_it_says_how_the_model_was_trained(evaluated, tmp_path, method):
    run = write_run(tmp_path)
    if method:
        with open(run / "hyperparams.yaml", "a") as file:
            file.write(f"method: {method}\n")
    report, config = copy.deepcopy(evaluated)
    if method == "triplet":
        report["training"]["monitor"] = "matching/V-F/U/2/accuracy"
    card = model_card(report, config, read_settings(run))
    text = "".join(token.content for token in rendered(card) if token.type == "inline")
    is_own = method == "triplet"
    assert ("Bi-Pcm" in text) != is_own
    assert ("trained with the method triplet in" in text) == is_own
    value = "matching/V-F/U/2/accuracy" if is_own else "AUC"
    assert f"the epoch with the best validation {value} was kept" in text
