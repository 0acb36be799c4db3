#!/usr/bin/env python3
"""Draws a contact sheet of the embedded corpus: people, their faces, and a clip of their voice.

    python recipes/contact_sheet.py IMAGE [--num_identities=8] [--seed=1234]

IMAGE is the file to write; its suffix names the format. One row per person.
"""

import sys
from pathlib import Path

from speechbrain_fv.settings.script import Parser, answer, run_script


def parse(argv):
    """Returns the options of the command line."""
    parser = Parser("contact_sheet.py", __doc__)
    parser.add_argument("image")
    parser.add_argument("--num_identities", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1234)
    return parser.parse_args(argv)


if __name__ == "__main__":  # before the imports that take seconds
    answer(__doc__, parse=parse)

from matplotlib.figure import Figure

from speechbrain_fv.corpora.embedded import CLIPS_PER_IDENTITY
from speechbrain_fv.corpora.embedded.faces import draw_face
from speechbrain_fv.corpora.embedded.identities import draw_identities
from speechbrain_fv.corpora.embedded.voices import SAMPLE_RATE, speak
from speechbrain_fv.figures.plots.spectrogram import spectrogram
from speechbrain_fv.files import replacing


def main(argv):
    """Draws the sheet."""
    options = parse(argv)
    if options.num_identities < 1:
        raise ValueError(f"--num_identities: expected at least 1, got {options.num_identities}")
    people = draw_identities(options.num_identities, options.seed)
    figure = Figure(figsize=(10, 1.25 * len(people)), layout="constrained")
    widths = [1] * CLIPS_PER_IDENTITY + [3]
    axes = figure.subplots(len(people), len(widths), squeeze=False, width_ratios=widths)
    for row, person in zip(axes, people, strict=True):
        draw_person(row, person)
    for ticks in axes[:-1, -1]:
        ticks.set_xticks([])
    axes[0, -1].set_title("kHz over s, first voice clip", fontsize=8)
    with replacing(options.image) as file:
        figure.savefig(file, dpi=90, format=Path(options.image).suffix[1:] or "png")


def draw_person(row, person):
    """Draws labels, faces and the spectrogram of a clip of a person into a row of axes."""
    for clip in range(CLIPS_PER_IDENTITY):
        row[clip].imshow(draw_face(person, clip))
        row[clip].axis("off")
    row[0].set_title(
        f"{person.name}: {person.gender}, {person.nationality}, {person.age}",
        fontsize=8,
        loc="left",
    )
    samples = speak(person, 0)
    levels, highest = spectrogram(samples, SAMPLE_RATE)
    extent = (0, len(samples) / SAMPLE_RATE, 0, highest / 1000)
    row[-1].imshow(levels, origin="lower", aspect="auto", extent=extent)
    row[-1].set_yticks([0, 4, 8])
    row[-1].tick_params(labelsize=6)


if __name__ == "__main__":
    sys.exit(run_script(main, __doc__))
