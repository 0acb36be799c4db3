"""Figures show the report's numbers, leave gaps where a value is undefined, and are written."""

import numpy as np
import pandas as pd
import pytest

from speechbrain_fv.figures import plots
from speechbrain_fv.figures.analysis import Neighbours
from speechbrain_fv.figures.plots.media import read_picture
from speechbrain_fv.figures.plots.style import save
from tests.media import write_face, write_voice
from tests.processes import printed_by


def report():
    """Returns a report with an undefined stratum and a value without trials."""
    curve = {str(n): {"accuracy": 1.5 / n, "num_probes": 9} for n in range(2, 11)}
    short = {**curve, "10": {"accuracy": None, "num_probes": 0}}
    strata = {"U": curve, "G": short, "N": None, "GN": None}
    values = [{"auc": 0.8}, {"auc": 0.45}, None, {"auc": None}, None]
    return {
        "matching": {"F-V": strata, "V-F": strata},
        "verification": dict(zip(("U", "G", "N", "A", "GNA"), values, strict=True)),
    }


def curves(names, num_steps=10):
    """Returns a training log in which every value is its step."""
    steps = range(1, num_steps + 1)
    return pd.DataFrame(
        [(step, 1, name, step) for step in steps for name in names],
        columns=["step", "epoch", "name", "value"],
    )


def test_matching_curves_hold_the_report():
    for axes in plots.matching_figure(report()).axes:
        unrestricted, gender, chance = axes.lines
        assert unrestricted.get_ydata() == pytest.approx([150 / n for n in range(2, 11)])
        assert np.isnan(gender.get_ydata()[-1])
        assert chance.get_label() == "chance"
        assert chance.get_ydata() == pytest.approx([100 / n for n in range(2, 11)])


def test_verification_bars_start_at_chance():
    axes = plots.verification_figure(report()).axes[0]
    tops = [bar.get_y() + bar.get_height() for bar in axes.patches]
    assert tops == pytest.approx([80, 45, 50, 50, 50])
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["80.0", "45.0", "undefined", "undefined", "undefined", "chance"]


def test_training_has_a_panel_per_term_and_ignores_the_rest():
    log = curves(["loss", "lr", "L_id", "L_KL", "agreement_q8", "valid_auc_U", "valid_eer_U"])
    identity, divergence, auc = plots.training_figure(log, {"L_KL": {"a floor": 4}}).axes
    assert [axes.get_title() for axes in (identity, divergence)] == ["L_id", "L_KL"]
    assert [len(axes.lines) for axes in (identity, divergence)] == [1, 2]
    assert [text.get_text() for text in divergence.texts] == ["a floor"]
    assert [line.get_label() for line in auc.lines] == ["U", "chance"]
    assert identity.lines[0].get_ydata() == pytest.approx(range(1, 11))
    assert len(plots.training_figure(curves(["L_id"])).axes) == 1


def test_long_training_is_averaged_without_a_shift():
    line = plots.training_figure(curves(["L_id"], num_steps=6000)).axes[0].lines[0]
    assert len(line.get_xdata()) == 60
    assert line.get_ydata() == pytest.approx(line.get_xdata())
    assert line.get_xdata()[0] == 50.5


def test_training_without_known_names_is_refused():
    with pytest.raises(ValueError, match=r"names starting with 'L_' or .*found \['lr'\]"):
        plots.training_figure(curves(["lr"]))


def test_bands_and_bars_hold_the_intervals():
    value = {"accuracy": 0.6, "accuracy_interval": [0.5, 0.8], "num_probes": 9}
    strata = {"U": {"2": value, "3": value}}
    axes = plots.matching_figure({"matching": {"F-V": strata, "V-F": strata}}).axes[0]
    band = axes.collections[0].get_paths()[0].vertices
    assert {*band[:, 1]} == {50, 80}
    values = {"auc": 0.6, "auc_interval": [0.7, 0.9]}  # of an earlier version
    axes = plots.verification_figure({"verification": {"U": values}}).axes[0]
    assert axes.collections[0].get_segments()[0].tolist() == [[0, 70], [0, 90]]
    assert not plots.matching_figure(report()).axes[0].collections


def test_roc_has_the_curves_of_the_report_on_both_kinds_of_axes():
    roc = {"false_accept": [0.0, 0.25, 1.0], "true_accept": [0.0, 0.5, 1.0]}
    strata = {"U": {"auc": 0.6, "roc": roc}, "G": None, "N": {"auc": 0.5}}
    figure = plots.roc_figure({"verification": strata})
    assert [axes.get_xscale() for axes in figure.axes] == ["linear", "log"]
    for axes in figure.axes:
        start = 0 if axes.get_xscale() == "linear" else 1  # a logarithm has no 0
        assert axes.lines[0].get_xdata().tolist() == [0, 25, 100][start:]
        assert axes.lines[0].get_ydata().tolist() == [0, 50, 100][start:]
        assert len(axes.lines) == 2
    assert not figure.axes[0].collections
    with pytest.raises(ValueError, match="no stratum of its verification holds a ROC curve"):
        plots.roc_figure(report())


def test_roc_has_bands_and_begins_where_pairs_enough_are_accepted():
    roc = {"false_accept": [0.0, 0.01, 0.1, 1.0], "true_accept": [0.0, 0.2, 0.5, 1.0]}
    roc["true_accept_interval"] = [[0.0, 0.1, 0.4, 1.0], [0.0, 0.3, 0.6, 1.0]]
    values = {"auc": 0.6, "roc": roc, "num_positives": 100, "num_negatives": 1000}
    linear, logarithmic = plots.roc_figure({"verification": {"U": values}}).axes
    assert linear.lines[0].get_xdata().tolist() == [0, 1, 10, 100]
    band = linear.collections[0].get_paths()[0].vertices
    assert {(10, 40), (10, 60)} <= {tuple(point) for point in band.round(9).tolist()}
    assert logarithmic.lines[0].get_xdata().tolist() == [10, 100]  # 10 of 1000 are too few
    few = {"U": values | {"num_positives": 10, "num_negatives": 10}}
    assert not len(plots.roc_figure({"verification": few}).axes[1].lines[0].get_xdata())


def test_agreement_stands_beside_that_of_shuffled_pairs():
    """1/q is no floor: clusters differ in size, and pairs may seed them."""
    held_out = ["valid_agreement_q8", "valid_agreement_q8_shuffled"]
    table = curves(["agreement_q64", "agreement_q8", *held_out, "L_id"])
    eight, many = plots.agreement_figure(table).axes
    assert [axes.get_title() for axes in (eight, many)] == ["q = 8", "q = 64"]
    labels = [line.get_label() for line in eight.lines]
    assert labels == ["training batches", "held-out pairs", "the same, shuffled: the floor"]
    for line, name in zip(eight.lines[1:], held_out, strict=True):
        expected = 100 * table.value[table.name == name]
        assert line.get_ydata().tolist() == pytest.approx(expected.tolist())
    assert len(many.lines) == 1
    with pytest.raises(ValueError, match="expected names agreement_q<q>, found"):
        plots.agreement_figure(curves(["L_id"]))


def test_merged_histograms_are_densities():
    rng = np.random.default_rng(0)
    counts = {"positives": rng.integers(5, size=999), "negatives": {"U": rng.integers(5, size=999)}}
    counts["edges"] = np.linspace(-1, 1, 1000)
    axes = plots.histogram_figure(counts).axes[0]
    for bars in axes.patches:
        values, edges, _ = bars.get_data()
        assert 40 < len(values) <= 60
        assert (values * np.diff(edges)).sum() == pytest.approx(1)


def test_the_threshold_stands_in_every_histogram():
    counts = {"edges": np.linspace(-1, 1, 5), "positives": np.array([0, 1, 2, 3])}
    counts["negatives"] = {"U": np.array([3, 2, 1, 0]), "G": np.array([3, 2, 1, 0])}
    for axes in plots.histogram_figure(counts, threshold=0.25).axes:
        assert axes.lines[0].get_xdata() == [0.25, 0.25]
    assert not plots.histogram_figure(counts).axes[0].lines


def test_constant_scores_have_a_histogram():
    only = np.array([0, 0, 7, 0])
    counts = {"edges": np.linspace(-1, 1, 5), "positives": only, "negatives": {"U": only}}
    values, edges, _ = plots.histogram_figure(counts).axes[0].patches[0].get_data()
    assert values.tolist() == [2] and edges.tolist() == [0, 0.5]


def test_groups_without_a_value_have_a_dash_and_many_are_cut():
    entries = [{"group": "$f$", "auc": None, "num_identities": 2}]
    entries += [{"group": f"g{i}", "auc": 0.4, "num_identities": 9} for i in range(30)]
    axes = plots.group_figure({"nationality": entries}).axes[0]
    assert [text.get_text() for text in axes.texts[:2]] == ["-  (n = 2)", "40.0  (n = 9)"]
    assert axes.get_title(loc="left") == "nationality (7 more groups not drawn)"
    assert [bar.get_width() for bar in axes.patches[:2]] == pytest.approx([0, -10])
    with pytest.raises(ValueError, match="expected at least one attribute"):
        plots.group_figure({})


def test_a_sheet_frames_the_same_person_and_names_clips_without_pictures(tmp_path):
    found = Neighbours(0, np.arange(2), np.array([0.5, 0.25]), np.array([False, True]), 2, 9)
    face, name = np.zeros((4, 4, 3), dtype=np.uint8), "a$very$long_name/of_a_clip.wav"
    tiles = [plots.Tile("x", "ann", face), plots.Tile(name, "bob")]
    figure = plots.retrieval_figure([(found, plots.Tile("q", "bob"), tiles)], "V-F")
    wrong, right = figure.axes[2:]
    assert (wrong.get_title(), right.get_title()) == ("0.50", "✓ 0.25")
    assert right.spines["top"].get_linewidth() > 3 * wrong.spines["top"].get_linewidth()
    assert len(wrong.images) == 1 and not right.images
    assert right.texts[0].get_text() == "bob\na$very$l…_clip.wav"
    assert len(save(figure, tmp_path / "sheet.v1")) == 2
    assert (tmp_path / "sheet.v1.png").is_file()


def test_a_contact_sheet_has_a_face_above_each_voice():
    people = np.array([f"p{n}" for n in range(7)])
    others = np.array(["q", *people[1:]])
    faces, voices = np.zeros((7, 8, 8, 3), np.uint8), np.ones((7, 800), np.int16)
    seen = plots.SeenClips(faces, voices, 16000, people, others)
    axes = plots.contact_sheet_figure(seen).axes
    assert len(axes) == 14 and all(len(tile.images) == 1 for tile in axes)
    assert axes[0].get_title() == "p0\nvoice: q" and axes[2].get_title() == "p1"
    assert axes[0].get_position().y0 > axes[1].get_position().y1
    assert len(plots.contact_sheet_figure(seen._replace(faces=None)).axes) == 7


def test_pictures_come_from_media_and_from_nothing_else(tmp_path):
    face = read_picture({"image": str(write_face(tmp_path / "face.jpg"))})
    assert face.shape == (160, 160, 3)
    wav = write_voice(tmp_path / "voice.wav", seconds=0.5, channels=2)
    row = {"wav": str(wav), "start": "0", "stop": "8000", "speech": ""}
    sound = read_picture(row)
    assert sound.shape == (201, 48)  # 40 Hz apart up to 8 kHz; 25 ms windows every 10 ms
    assert sound.min() >= 0 and sound.max() == 1
    assert read_picture(row | {"speech": "0:800;1600:4000"}).shape == (201, 23)
    assert read_picture(row | {"stop": "100"}).shape == (201, 3)
    (tmp_path / "vectors.npz").write_bytes(b"no media")
    for name in ("vectors.npz", "absent.jpg"):
        assert read_picture({"image": str(tmp_path / name)}) is None
        assert read_picture(row | {"wav": str(tmp_path / name)}) is None


def test_a_map_tells_people_and_modalities_apart():
    maps = {title: (np.eye(2), np.eye(2) + 1) for title in ("before", "after")}
    figure = plots.embedding_map_figure(maps, ["a", "b"], ["b", "a"])
    assert [axes.get_title() for axes in figure.axes] == ["before", "after"]
    voices, faces = np.reshape(figure.axes[0].collections, (2, 2))
    assert [face.get_offsets().tolist() for face in faces] == [[[1, 0]], [[0, 1]]]
    assert (faces[0].get_facecolor() == voices[1].get_edgecolor()).all()
    assert all((voice.get_facecolor() == 1).all() for voice in voices)
    assert [text.get_text() for text in figure.axes[0].texts] == ["B", "A", "A", "B"]
    crowd = [str(number) for number in range(11)]
    with pytest.raises(ValueError, match="at most 10 to tell apart, got 11"):
        plots.embedding_map_figure({"": (np.zeros((11, 2)),) * 2}, crowd, crowd)


def test_files_are_written(tmp_path):
    curves(["L_id"]).to_csv(tmp_path / "train_curves.csv", index=False)
    paths = plots.plot_report(report(), tmp_path / "figures")
    paths += plots.plot_training(tmp_path / "train_curves.csv", tmp_path / "figures")
    stems = [f"{path.parent.name}/{path.name}" for path in paths]
    assert stems == [
        f"figures/{name}.{suffix}"
        for name in ("matching", "verification", "training")
        for suffix in ("png", "pdf")
    ]
    for path in paths:
        assert path.read_bytes()[:4] == (b"%PDF" if path.suffix == ".pdf" else b"\x89PNG")
    assert plots.plot_report({"retrieval": {}}, tmp_path) == []


@pytest.mark.parametrize("module", ["figures.plots", "experiments.ablations.figures"])
def test_figures_load_neither_torch_nor_pyplot(module):
    loaded = "print({'torch', 'matplotlib.pyplot'} & {*sys.modules})"
    assert printed_by(f"import sys, speechbrain_fv.{module}; {loaded}") == "set()"
