"""`verify` and `match`."""

import os

from speechbrain_fv.commands.models import cautioned, described, load_model
from speechbrain_fv.commands.output import Outcome, ranking_lines
from speechbrain_fv.demo.statement import error_statements
from speechbrain_fv.inference.people import MEASURED, kind_of

OF_SINGLE = "probability, threshold and error rates are those of single files"


def verify(options):
    """Returns whether a face and a voice belong to one person."""
    also, left_out = {"face": [], "voice": []}, [] if options.skip_broken else None
    for file in options.also:
        try:
            also[kind_of(file)].append(file)
        except ValueError as error:
            if left_out is None or os.path.isdir(file):  # a folder of both kinds is a mistake
                raise
            left_out.append((file, str(error)))
    model, weights = load_model(options), MEASURED if options.weighted else None
    face, voice = (
        encoded_person(model, kind, person_of(first, also[kind]), weights, options, left_out)
        for kind, first in (("face", options.face), ("voice", options.voice))
    )
    verdict = model.verify(face.embeddings, voice.embeddings)
    score, probability, decision = (field.item() for field in verdict)
    counts = {"faces": face.num_clips[0], "voices": voice.num_clips[0]}
    data = {
        "face": options.face,
        "voice": options.voice,
        **{f"num_{name}": count for name, count in counts.items()},
        "score": score,
        "probability": probability,
        "threshold": model.threshold,
        "decision": decision,
        "error_rates": model.config["error_rates"],
        "model": described(model),
    }
    reached = "reaches" if decision else "is below"
    lines = [
        f"taken for {'one person' if decision else 'two people'}: the score {score:.3f} {reached} "
        f"the threshold {model.threshold:.3f}",
        f"probability of one person: {100 * probability:.0f} %, where half of the pairs show one",
        "how often that is wrong, on people whom the model had not met in training:",
        *(f"  {sentence}" for sentence in error_statements(model.config)),
    ]
    if any(count > 1 for count in counts.values()):
        lines.append(
            f"average of {counts['faces']} images and {counts['voices']} recordings; {OF_SINGLE}"
        )
    return cautioned(model, Outcome(data, lines, left_out or []))


def encoded_person(model, kind, person, weights, options, left_out):
    """Returns the `People` of one person, as the options of a command ask for.

    Raises
    ------
    ValueError
        If a file cannot be used, or where they are left out if none can.
    """
    detect = {"detect_faces": options.detect_faces} if kind == "face" else {}
    found = model.encode_people_files(kind, [person], weights, left_out, **detect)
    if not found.kept:
        raise ValueError(left_out[-1][1])
    return found


def person_of(first, also):
    """Returns a file or a folder, with further ones a list of all, which is one person."""
    return [first, *also] if also else first


def match(options):
    """Returns the candidates, best first."""
    probe = person_of(options.probe, options.also)
    kind = kind_of(probe, "skip" if options.skip_broken else "raise")
    model, weights = load_model(options), MEASURED if options.weighted else None
    left_out = [] if options.skip_broken else None
    other = "voice" if kind == "face" else "face"
    asked = encoded_person(model, kind, probe, weights, options, left_out)
    probe = asked.embeddings
    detect = {"detect_faces": options.detect_faces} if other == "face" else {}
    found = model.encode_people_files(other, options.candidates, weights, left_out, **detect)
    candidates, left_out = found.embeddings, left_out or []
    files = [options.candidates[index] for index in found.kept]
    if not files:
        raise ValueError(f"no candidate can be used; the first: {left_out[0][1]}")
    ranking = model.match(probe[0], candidates, "F-V" if kind == "face" else "V-F")
    probabilities = ranking.probabilities
    if probabilities is None:
        probabilities = [None] * len(files)
    rows = [
        {
            "rank": rank,
            "file": files[index],
            "num_files": found.num_clips[index],
            "score": score,
            "probability": None if probability is None else float(probability),
        }
        for rank, (index, score, probability) in enumerate(
            zip(ranking.indices.tolist(), ranking.scores.tolist(), probabilities, strict=True),
            start=1,
        )
    ]
    threshold = model.threshold
    data = {
        "probe": options.probe,
        "probe_kind": kind,
        "num_probe_files": asked.num_clips[0],
        "ranking": [
            {**row, "decision": None if threshold is None else row["score"] >= threshold}
            for row in rows
        ],
        "threshold": threshold,
        "model": described(model),
    }
    lines = ranking_lines(rows, "file")
    if max(*asked.num_clips, *found.num_clips) > 1:
        lines.append(f"people are averages of their files; {OF_SINGLE}")
    return cautioned(model, Outcome(data, lines, left_out))
