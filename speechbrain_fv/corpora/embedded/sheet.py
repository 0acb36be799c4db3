"""Contact sheet of the embedded corpus; run this module with the image file to write."""

import sys

from matplotlib.figure import Figure

from speechbrain_fv.corpora.embedded import CLIPS_PER_IDENTITY
from speechbrain_fv.corpora.embedded.faces import draw_face
from speechbrain_fv.corpora.embedded.identities import draw_identities
from speechbrain_fv.corpora.embedded.voices import SAMPLE_RATE, speak


def write_contact_sheet(path, num_identities=8, seed=1234):
    """Writes a picture with one row per person: labels, faces and the spectrogram of a clip.

    Arguments
    ---------
    path : path
        Image file to write; the suffix names the format.
    num_identities : int
        Number of rows, >= 1.
    seed : int
        Seed of the corpus, >= 0.
    """
    figure = Figure(figsize=(10, 1.25 * num_identities), layout="constrained")
    widths = [1] * CLIPS_PER_IDENTITY + [3]
    axes = figure.subplots(num_identities, len(widths), squeeze=False, width_ratios=widths)
    for row, person in zip(axes, draw_identities(num_identities, seed), strict=True):
        for clip in range(CLIPS_PER_IDENTITY):
            row[clip].imshow(draw_face(person, clip))
            row[clip].axis("off")
        row[0].set_title(
            f"{person.name}: {person.gender}, {person.nationality}, {person.age}",
            fontsize=8,
            loc="left",
        )
        row[-1].specgram(
            speak(person, 0), NFFT=400, noverlap=240, Fs=SAMPLE_RATE / 1000, vmin=-110, vmax=-30
        )
        row[-1].set_yticks([0, 4, 8])
        row[-1].tick_params(labelsize=6)
    for ticks in axes[:-1, -1]:
        ticks.set_xticks([])
    axes[0, -1].set_title("kHz over ms, first voice clip", fontsize=8)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    write_contact_sheet(sys.argv[1])
