"""From settings to the manifests and classes of a run, its corpus prepared, its record checked."""

import logging
from contextlib import nullcontext
from pathlib import Path

from speechbrain.utils.distributed import ddp_barrier, if_main_process, infer_device, run_on_main

from speechbrain_fv import distributed
from speechbrain_fv.data.classes import missing_reason, training_classes
from speechbrain_fv.data.lost_clips import excluded_files, with_lost
from speechbrain_fv.data.manifests import (
    content_key,
    load_manifests,
    without_training_identities,
)
from speechbrain_fv.data.schema import SPLITS
from speechbrain_fv.files import replacing
from speechbrain_fv.losses import TrainingSet
from speechbrain_fv.protocols.strata import undefined_reason
from speechbrain_fv.training import features, media_cache
from speechbrain_fv.training.brain import MODALITIES
from speechbrain_fv.training.images import use_own_images
from speechbrain_fv.training.record import (
    OtherData,
    check_record,
    restoring,
    settings_of,
    write_record,
)
from speechbrain_fv.training.vectors import check_widths, fit_networks, vector_width

logger = logging.getLogger(__name__)


def prepared(hparams, run_opts, resolved_yaml, show=None):
    """Returns the manifests and the classes of a run whose settings and folder fit together.

    Nothing of an earlier run in the folder is touched before all checks have passed. The first of
    several processes prepares, the others wait.

    Arguments
    ---------
    hparams : dict
        The loaded YAML.
    run_opts : mapping
        SpeechBrain's run options.
    resolved_yaml : str
        The YAML's text with all overrides and includes in place, for the record.
    show : callable, optional
        Called by the first process with the YAML and the manifests once these are there, before
        features are computed.

    Raises
    ------
    ValueError
        If the corpus does not fit the method, or the folder holds checkpoints that were made with
        something else.
    """
    resolved_yaml = use_own_images(hparams, resolved_yaml)
    checkpointer = hparams["checkpointer"]
    check_widths(hparams)
    folder, has_checkpoints = checkpointer.checkpoints_dir, bool(checkpointer.list_checkpoints())
    record = {
        "settings": settings_of(resolved_yaml, run_opts),
        "clips": None,
        "corpus": None,
        "global_batch": None,
    }
    if not run_opts["test_only"]:
        record["global_batch"] = hparams["batch_size"] * distributed.world()[1]
    described = features.describe(hparams, resolved_yaml, run_opts)
    record["settings"] |= features.settings_of_views(hparams, described)
    record["settings"] |= media_cache.settings_of_cache(hparams)
    check_record(folder, record, has_checkpoints)
    manifests = _trained_manifests(hparams, folder, record, has_checkpoints)
    check_monitor(hparams["monitor"], manifests.identities)
    if show and if_main_process():
        show(hparams, manifests)
    features.use_features(hparams, run_opts, manifests, described)
    media_cache.use_cache(hparams, resolved_yaml, manifests)
    classes = build_objective(hparams, manifests)
    fit_networks(hparams, manifests, run_opts["device"] or infer_device())
    if if_main_process():
        write_record(folder, record)
        with replacing(Path(hparams["output_folder"], "hyperparams.yaml")) as file:
            file.write(resolved_yaml.encode())
    return manifests, classes


def _trained_manifests(hparams, folder, record, has_checkpoints):
    """Prepares the corpus; returns the manifests that checkpoints, if any, were trained with.

    Of a corpus that has lost no more than `lost_files` files since, these are the earlier ones.
    """
    manifest_folder = hparams["manifest_folder"]
    vectors = _files_of_vectors(hparams["corpus"])

    def check(manifests):
        record["clips"] = content_key(manifests, vectors)
        record["corpus"] = manifests.preparation["key"]
        check_record(folder, record, has_checkpoints)
        return manifests

    try:
        with restoring(manifest_folder, has_checkpoints) if if_main_process() else nullcontext():
            run_on_main(hparams["corpus"]["prepare"], kwargs={"manifest_folder": manifest_folder})
            manifests = training_manifests(hparams)
            excluded = excluded_files(manifest_folder)
            ddp_barrier()  # all have read them before one restores the earlier ones
            return check(manifests)
    except OtherData:
        ddp_barrier()
        most = hparams.get("lost_files", 0)
        earlier = with_lost(training_manifests(hparams), manifests, most, excluded)
        if earlier is None:
            raise
    return check(earlier)


def _files_of_vectors(corpus):
    """Returns the files of the corpus's readers whose bytes are the data, each once."""
    readers = (corpus["face_reader"], corpus["voice_reader"])
    alone = {str(reader.path) for reader in readers if hasattr(reader, "path")}
    return alone.union(*(getattr(reader, "paths", ()) for reader in readers))


def training_manifests(hparams):
    """Returns the manifests, less the training identities that the YAML leaves out.

    Raises
    ------
    ValueError
        If in a split no face meets the voice of somebody else.
    """
    manifests = without_training_identities(
        load_manifests(hparams["manifest_folder"]),
        hparams["num_removed_identities"],
        hparams["seed"],
    )
    counts = manifests.identities.split.value_counts()
    for split in SPLITS:
        if counts.get(split, 0) < 2:
            raise ValueError(
                f"split {split!r}: expected at least 2 identities, got {counts.get(split, 0)}; add "
                "people, or split them otherwise"
            )
    return manifests


def build_objective(hparams, manifests):
    """Builds what of the losses depends on the corpus; returns the classes that they are given.

    Returns
    -------
    classes : dict of str to data.classes.Classes
        By attribute, those that the losses need, or may use and the corpus has.

    Raises
    ------
    ValueError
        If the corpus lacks an attribute that a loss needs, or does not suffice otherwise.
    """
    objective = hparams["objective"]
    present = []
    for attribute in objective.attributes():
        reason = missing_reason(manifests, attribute)
        if reason is None:
            present.append(attribute)
            continue
        for loss in objective.needing(attribute):
            raise ValueError(
                f"losses: {loss} needs the attribute {attribute!r} of every training clip: "
                f"{reason}; label the corpus, or take another loss"
            )
        logger.info("the losses do without %s: %s", attribute, reason)
    classes = training_classes(manifests, present)
    faces, voices = manifests.faces["train"], manifests.voices["train"]
    objective.build(
        TrainingSet(
            num_classes={name: of.num_classes for name, of in classes.items()},
            num_faces=len(faces),
            num_voices=len(voices),
            num_identities=len(set(voices.spk_id)),
            batch_size=hparams["batch_size"] * distributed.world()[1],
            input_dims=tuple(
                vector_width(hparams["corpus"][f"{modality}_reader"], table)
                for modality, table in zip(MODALITIES, (faces, voices), strict=True)
            ),
        )
    )
    return classes


def check_monitor(monitor, identities):
    """Raises ValueError, before anything is trained, if the validation has no such stratum.

    Arguments
    ---------
    monitor : str
        The path of the value in the report that chooses the checkpoint.
    identities : pandas.DataFrame
        The identities of the corpus.
    """
    task, *parts = monitor.split("/")
    stratum = {"verification": parts[0], "matching": parts[1]}.get(task, "U")
    reason = undefined_reason(identities[identities.split == "valid"], stratum)
    if reason:
        raise ValueError(
            f"monitor: {monitor}: of the validation split, {reason}; label the corpus, or take "
            "another value"
        )
