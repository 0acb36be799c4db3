"""What a training leaves when it is finished: embeddings, report, tables, figures."""

from pathlib import Path

from speechbrain.utils.distributed import run_on_main

from speechbrain_fv import distributed
from speechbrain_fv.evaluation.challenge import evaluate_challenges, format_challenge
from speechbrain_fv.evaluation.embeddings import save_embeddings
from speechbrain_fv.evaluation.exact import evaluate, format_report, save_report
from speechbrain_fv.evaluation.groups import evaluate_groups
from speechbrain_fv.evaluation.lists import evaluate_lists, format_lists
from speechbrain_fv.evaluation.people import add_people, format_people
from speechbrain_fv.evaluation.report_sheets import write_report_tables
from speechbrain_fv.evaluation.sets import add_attributes, format_sets
from speechbrain_fv.files import write_table
from speechbrain_fv.protocols import resolve_lists


def save_untrained(brain, test, folder):
    """Writes the test embeddings of the untrained model, which figures show beside the trained."""
    embeddings = brain.embed(test)
    run_on_main(save_embeddings, [Path(folder, "embeddings_untrained.npz"), embeddings])


def write_results(brain, train, valid, challenge, hparams):
    """Evaluates the test embeddings of the Brain and writes everything a reader may want.

    Arguments
    ---------
    brain : FaceVoiceBrain
        After its `evaluate`.
    train : Embeddings
        Of some training pairs.
    valid : Embeddings
        Of the validation split, for the calibration of an export.
    challenge : Embeddings or None
        Of the clips of a challenge, which the lists of the YAML are about; without, they are about
        the test split.
    hparams : dict
        The loaded YAML.

    Returns
    -------
    report : str
        Its tables, for the terminal.
    """
    folder = Path(hparams["output_folder"])
    metadata = brain.hparams.metadata.drop(columns="split")
    metadata = metadata[metadata.identity.isin(brain.embeddings.identities)]
    save_embeddings(folder / "embeddings_test.npz", brain.embeddings)
    save_embeddings(folder / "embeddings_valid.npz", valid)
    if challenge is not None:
        save_embeddings(folder / "embeddings_challenge.npz", challenge)
    write_table(metadata, folder / "metadata_test.csv")
    score = hparams["score"]
    report = evaluate(brain.embeddings, metadata, device=brain.device, progress=True, score=score)
    add_people(report, brain.embeddings, metadata, score, device=brain.device)
    report["training"] = brain.training_summary()
    if len(metadata.columns) > 1:
        report["groups"] = evaluate_groups(
            brain.embeddings, metadata, device=brain.device, score=score
        )
    clips = brain.hparams.test_clips
    has_attributes = len(clips.columns) > 2  # beside modality and clip
    if has_attributes:
        write_table(clips, folder / "clips_test.csv")
    add_attributes(
        report,
        brain.embeddings,
        clips if has_attributes else None,
        metadata,
        hparams["strata"],
        hparams["sets"],
        device=brain.device,
        score=score,
    )
    objective, num_rows = brain.modules.objective, hparams["batch_size"] * distributed.world()[1]
    of_losses = {
        split: objective.validate(embeddings, num_rows, hparams["seed"])
        for split, embeddings in (("train", train), ("valid", valid), ("test", brain.embeddings))
    }
    if any(of_losses.values()):
        report["losses"] = of_losses
    tables = [format_report(report), format_people(report), format_sets(report)]
    if hparams["lists"]:
        about = brain.embeddings if challenge is None else challenge
        lists = resolve_lists(hparams["lists"], about, metadata if about.labelled else None)
        report["lists"] = evaluate_lists(about, lists, device=brain.device, score=score)
        tables.append(format_lists(report["lists"]))
        section = evaluate_challenges(about, lists, folder, device=brain.device, score=score)
        if section:
            report["challenge"] = section
            tables += [format_challenge(section), f"Submission: {section['submission']}"]
    write_report_tables(folder, report)
    save_report(folder / "report.json", report)
    return "\n\n".join(filter(None, tables))
