"""The files of a run -> every figure that they allow, report.html, and why others are missing."""

from pathlib import Path
from typing import NamedTuple

from speechbrain_fv.figures import analysis, plots
from speechbrain_fv.figures.html_report import write_html_report
from speechbrain_fv.figures.plots.style import save
from speechbrain_fv.figures.run_files import RunFiles

SEED = 0  # of the people shown, so that nobody picks them


class RunFigure(NamedTuple):
    """A figure that was drawn.

    name : str, of its files without ending
    title : str
    alt : str, what kind of picture it is
    caption : str
    paths : list of Path, the PNG first
    """

    name: str
    title: str
    alt: str
    caption: str
    paths: list


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
            figure, caption = draw(files)
        except ValueError as error:
            missing[title] = str(error)
        else:
            paths = save(figure, output_folder / "figures" / name)
            figures.append(RunFigure(name, title, alt, caption, paths))
    if not figures:
        reasons = "; ".join(sorted(set(missing.values())))
        raise ValueError(f"{folder}: nothing to draw: {reasons}; name the folder of a run")
    write_html_report(output_folder / "report.html", files, figures, missing)
    return figures, missing


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
    return plots.roc_figure(files.report_with("verification")), (
        "Share of pairs of one person accepted over the share of pairs of two people accepted, per "
        "stratum; on the right with logarithmic axes."
    )


def _histogram(files):
    counts = analysis.score_histograms(
        files.embeddings, files.optional("metadata"), score=files.score
    )
    return plots.histogram_figure(counts), (
        f"{counts['score']} scores of all face-voice pairs: of one person (filled), and of two "
        "people (dashed) in the strata U and G. The less they overlap, the better."
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
    return plots.training_figure(files.curves), (
        "Loss terms before their weights, label agreement and validation AUC over the training."
    )


def _agreement(files):
    return plots.agreement_figure(files.curves), (
        "Share of pairs whose face and voice bear the same pseudo-label (Eq. 5) per number of "
        "clusters q; dotted, in the same colour: that of shuffled held-out pairs, the floor."
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
        return plots.retrieval_figure(rows, direction), caption

    return draw


def _embedding_map(files):
    after = files.embeddings
    faces, voices = analysis.choose_clips(after, seed=SEED)
    parts, note = {"after training": after}, ""
    try:
        parts = {"before training": files.untrained, **parts}
    except ValueError as error:
        note = f" Only after training: {error}."
    maps = {
        title: analysis.map_clips(part.face[faces], part.voice[voices], SEED)
        for title, part in parts.items()
    }
    who = after.face_identity[faces], after.voice_identity[voices]
    return plots.embedding_map_figure(maps, *who), (
        f"t-SNE of test embeddings: {len(faces)} faces and {len(voices)} voices of {len({*who[0]})}"
        f" people drawn at random (seed {SEED}). Distances between far groups mean little.{note}"
    )


FIGURES = {
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
        "Line charts of losses, label agreement and validation AUC over the steps.",
        _training,
    ),
    "agreement": (
        "Label agreement",
        "Line chart of the label agreement over the steps, a curve per q.",
        _agreement,
    ),
}
