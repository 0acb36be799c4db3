"""`verify` and `match`."""

from speechbrain_fv.commands.models import described, load_model
from speechbrain_fv.commands.output import Outcome, ranking_lines
from speechbrain_fv.demo.statement import error_statements
from speechbrain_fv.media.kinds import media_kind


def verify(options):
    """Returns whether a face and a voice belong to one person."""
    model = load_model(options)
    verdict = model.verify_files(options.face, options.voice, options.detect_faces)
    score, probability, decision = (field.item() for field in verdict)
    data = {
        "face": options.face,
        "voice": options.voice,
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
    return Outcome(data, lines)


def match(options):
    """Returns the candidates, best first."""
    kind = media_kind(options.probe)
    model = load_model(options)
    detect = {"detect_faces": options.detect_faces}
    left_out = [] if options.skip_broken else None
    if kind == "voice":
        probe = model.encode_voice_files(options.probe)
        candidates = model.encode_face_files(options.candidates, skipped=left_out, **detect)
    else:
        probe = model.encode_face_files(options.probe, **detect)
        candidates = model.encode_voice_files(options.candidates, skipped=left_out)
    left_out = left_out or []
    broken = {file for file, _ in left_out}
    files = [file for file in options.candidates if file not in broken]
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
        "ranking": [
            {**row, "decision": None if threshold is None else row["score"] >= threshold}
            for row in rows
        ],
        "threshold": threshold,
        "model": described(model),
    }
    return Outcome(data, ranking_lines(rows, "file"), left_out)
