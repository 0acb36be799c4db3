"""The files of a run -> every figure that they allow, report.html, and why others are missing."""

import math
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from speechbrain_fv.figures import analysis, plots
from speechbrain_fv.figures.html_report import write_html_report
from speechbrain_fv.figures.plots.style import save
from speechbrain_fv.figures.run_files import RunFiles
from speechbrain_fv.figures.sounds import Sound, mp3

THRESHOLD = (
    " The line is the score from which on a model of this training says one person, with a "
    "probability of 50 % by its validation split."
)
SEED = 0  # of the people shown, so that nobody picks them


class RunFigure(NamedTuple):
    """A figure that was drawn.

    name : str, of its files without ending
    title : str
    alt : str, what kind of picture it is
    caption : str
    paths : list of Path, the PNG first
    sounds : sequence of (str, list of Sound), rows of sounds to play beside it, with their titles
    """

    name: str
    title: str
    alt: str
    caption: str
    paths: list
    sounds: tuple = ()


class Drawn(NamedTuple):
    """A figure before it is written, with what is told of it."""

    figure: Figure
    caption: str
    sounds: tuple = ()


def report_run(folder, output_folder=None, embeddings=None, metadata=None, score=None):
    """Draws all figures that a folder's files allow, and writes report.html.

    Arguments
    ---------
    folder : str or Path
        Output folder of a training or an evaluation.
    output_folder : str or Path, optional
        Where figures/ and report.html go; by default the folder itself.
    embeddings, metadata : str or Path, optional
        Files that take the place of the folder's own.
    score : Score, optional
        That of the run; by default the one that the report names, if it has no weights.

    Returns
    -------
    figures : list of RunFigure
    missing : dict of str to str
        Title of each other figure -> why it could not be drawn.

    Raises
    ------
    ValueError
        If there is no such folder, or no figure can be drawn.
    """
    files = RunFiles(folder, embeddings, metadata, score)
    output_folder = Path(output_folder or folder)
    figures, missing = [], {}
    for name, (title, alt, draw) in FIGURES.items():
        try:
            figure, caption, sounds = Drawn(*draw(files))
        except ValueError as error:
            missing[title] = str(error)
        else:
            paths = save(figure, output_folder / "figures" / name)
            figures.append(RunFigure(name, title, alt, caption, paths, sounds))
    if not figures:
        reasons = "; ".join(sorted(set(missing.values())))
        raise ValueError(f"{folder}: nothing to draw: {reasons}; name the folder of a run")
    write_html_report(output_folder / "report.html", files, figures, missing)
    return figures, missing


def _contact_sheet(files):
    seen = files.seen
    people = [
        str(name) for name in (seen.face_identity if seen.voices is None else seen.voice_identity)
    ]
    parts, sounds = [], []
    if seen.faces is not None:
        parts.append("the crop of the face as it is augmented, before its colours are normalised")
    if seen.voices is not None:
        seconds = seen.voices.shape[1] / seen.rate
        parts.append(f"the spectrogram of the {seconds:.3g} s of speech, up to 8 kHz, in 60 dB")
        heard = [mp3(samples, seen.rate) for samples in seen.voices]
        sounds = _row("", [Sound(*pair) for pair in zip(people, heard, strict=True)])
    return (
        plots.contact_sheet_figure(seen),
        f"The first {len(people)} pairs of the first training batch as the model gets them: "
        f"{'; '.join(parts)}. What is wrong here spoils every value.",
        sounds,
    )


def _row(title, sounds):
    """Returns a row of sounds for the page; none where no sound can be played."""
    playable = [sound for sound in sounds if sound.mp3]
    return [(title, playable)] if playable else []


def _matching(files):
    bands = ", with 95 % intervals" if "bootstrap" in files.report else ""
    return plots.matching_figure(files.report_with("matching")), (
        f"Accuracy of choosing the right one of N candidates{bands}. The strata restrict the wrong "
        "candidates; a dotted line marks chance, 1/N."
    )


def _verification(files):
    bars = ", with 95 % intervals" if "bootstrap" in files.report else ""
    return plots.verification_figure(files.report_with("verification")), (
        f"Area under the ROC curve per stratum{bars}, drawn from chance (50 %)."
    )


def _roc(files):
    report = files.report_with("verification")
    bands = ", with pointwise 95 % intervals over people" if "bootstrap" in report else ""
    return plots.roc_figure(report), (
        "Share of pairs of one person accepted over the share of pairs of two people accepted"
        f"{bands}, per stratum. On the right with logarithmic axes, from where at least "
        f"{plots.LEAST_ACCEPTED} pairs of either kind are accepted: below, a curve is the accident "
        "of a few pairs."
    )


def _histogram(files):
    counts = analysis.score_histograms(
        files.embeddings, files.optional("metadata"), score=files.score
    )
    threshold = files.optional("threshold")
    line = "" if threshold is None else THRESHOLD
    return plots.histogram_figure(counts, threshold), (
        f"{counts['score']} scores of all face-voice pairs: of one person (filled), and of two "
        f"people (dashed) in the strata U and G. The less they overlap, the better.{line}"
    )


def _groups(files):
    entries = [entry for entries in files.groups.values() for entry in entries]
    reasons = [entry["reason"] for entry in entries if "reason" in entry]
    if reasons:
        raise ValueError(reasons[0])
    return plots.group_figure(files.groups), (
        "AUC among the people of one gender, nationality or age group alone, and their number n. "
        "Groups of few people are pooled as other (number of groups), whose pairs may differ in "
        "the attribute. Unequal bars show a bias, as far as the intervals allow."
    )


def _training(files):
    curves = files.curves
    num_spaces = curves.name[curves.name.str.fullmatch(r"agreement_q\d+")].nunique()
    score = getattr(files.optional("hyperparameters", {}).get("agreement"), "tag", None)
    bounds, notes = {}, ""
    if num_spaces and str(getattr(score, "value", score)).endswith("PredictedAgreement"):
        floor = num_spaces / math.e
        bounds["L_cma"] = {
            "predicted labels never agree": num_spaces,
            "always agree, the floor": floor,
        }
        notes += (
            f" L_cma lies between {num_spaces}, where the predicted labels of face and voice never "
            f"agree, and {num_spaces}/e = {floor:.2f}, where they always do: it is flat while they "
            "agree as seldom as at the start."
        )
    if "L_KL" in set(curves.name):
        notes += (
            " L_KL is 0 while faces and voices say nothing, all labels being as likely, and rises "
            "as both become definite without saying the same; its floor is 0."
        )
    return plots.training_figure(curves, bounds), (
        f"Loss terms before their weights, and validation AUC over the training.{notes}"
    )


def _agreement(files):
    return plots.agreement_figure(files.curves), (
        "Share of pairs whose face and voice bear the same pseudo-label (Eq. 5) per number of "
        "clusters q. Only the distance of held-out pairs to the same pairs shuffled tells "
        "something; a single training batch tells little."
    )


def _retrieval(direction):
    def draw(files):
        asked, found = (analysis.MODALITIES[letter] for letter in direction.split("-"))
        rows, pictures = [], 0
        found_rows = analysis.nearest_clips(
            files.embeddings, direction, seed=SEED, score=files.score
        )
        for row in found_rows:
            (query,), tiles = files.tiles(asked, [row.query]), files.tiles(found, row.gallery)
            pictures += sum(tile.picture is not None for tile in (query, *tiles))
            rows.append((row, query, tiles))
        total = sum(1 + len(tiles) for _, _, tiles in rows)
        caption = (
            f"Queries of {len(rows)} people drawn at random (seed {SEED}), and the clips of the "
            "whole gallery that score highest. Thick frame and tick: the same person. Below each "
            "query: the place of the first clip of that person."
        )
        if pictures < total:
            caption += f" {total - pictures} of {total} clips have no readable file: named instead."
        return (
            plots.retrieval_figure(rows, direction),
            caption,
            _sounds(files, direction, found_rows),
        )

    return draw


def _sounds(files, direction, found_rows):
    """Returns rows of sounds: the voices that ask in one, or for each face those found for it."""
    people = (
        files.embeddings.voice_identity if direction == "V-F" else files.embeddings.face_identity
    )
    if direction == "V-F":
        asking = [row.query for row in found_rows]
        return _row(
            "", [Sound(*each) for each in zip(people[asking], files.sounds(asking), strict=True)]
        )
    rows = []
    for row in found_rows:
        names = [
            f"{'✓ ' if right else ''}{score:.2f}"
            for score, right in zip(row.scores, row.right, strict=True)
        ]
        found = zip(names, files.sounds(row.gallery), strict=True)
        rows += _row(people[row.query], [Sound(*each) for each in found])
    return rows


def _embedding_map(files):
    after = files.embeddings
    faces, voices = analysis.choose_clips(after, seed=SEED)
    parts, note = {"test embeddings": after}, ""
    try:
        parts = {"before training": files.untrained, "after training": after}
    except ValueError as error:
        note = f" There is no map from before training: {error}."
    maps = {
        title: analysis.map_clips(part.face[faces], part.voice[voices], SEED)
        for title, part in parts.items()
    }
    who = after.face_identity[faces], after.voice_identity[voices]
    return plots.embedding_map_figure(maps, *who), (
        f"t-SNE of test embeddings: {len(faces)} faces and {len(voices)} voices of {len({*who[0]})}"
        f" people drawn at random (seed {SEED}). It can show whether clips of a person, and faces "
        "and voices, come to lie together. It cannot show how often the model errs, and neither "
        f"the distance between groups nor their size means anything.{note}"
    )


FIGURES = {
    "contact_sheet": (
        "What the model sees",
        "Rows of faces, below each the spectrogram of the voice trained beside it.",
        _contact_sheet,
    ),
    "matching": (
        "1:N matching",
        "Line chart of the accuracy over N, a curve per stratum; values in the tables Matching.",
        _matching,
    ),
    "verification": (
        "Verification",
        "Bar chart of the AUC, a bar per stratum; values in the table Verification.",
        _verification,
    ),
    "roc": ("ROC curves", "Line charts of true over false accepts, a curve per stratum.", _roc),
    "scores": ("Scores of pairs", "Histograms of scores, a panel per stratum.", _histogram),
    "groups": (
        "Within groups",
        "Bar charts of the AUC per group; values in the tables of the section Within groups.",
        _groups,
    ),
    "retrieval_v2f": (
        "Retrieval, voice to face",
        "Rows of a voice's spectrogram and the five faces found for it.",
        _retrieval("V-F"),
    ),
    "retrieval_f2v": (
        "Retrieval, face to voice",
        "Rows of a face and the spectrograms of the five voices found for it.",
        _retrieval("F-V"),
    ),
    "embedding_map": (
        "Embeddings in the plane",
        "Scatter plot of faces and voices, lettered by person.",
        _embedding_map,
    ),
    "training": (
        "Training",
        "Line charts of each loss term and of the validation AUC over the steps.",
        _training,
    ),
    "agreement": (
        "Label agreement",
        "Line charts of the label agreement over the steps, a panel per q.",
        _agreement,
    ),
}
