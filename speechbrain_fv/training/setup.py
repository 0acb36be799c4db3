"""From settings to a Brain that can train: checks, manifests, classes, loaders."""

import logging
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from speechbrain.utils.distributed import ddp_barrier, if_main_process, infer_device, run_on_main

from speechbrain_fv import distributed
from speechbrain_fv.data.classes import missing_reason, training_classes
from speechbrain_fv.data.lost_clips import excluded_files, with_lost
from speechbrain_fv.data.manifests import (
    content_key,
    load_manifests,
    without_training_identities,
)
from speechbrain_fv.data.pairs import clip_dataset, evaluation_loader, training_loader
from speechbrain_fv.data.samplers import BatchSampler
from speechbrain_fv.data.schema import SPLITS
from speechbrain_fv.data.selection import spread_clips
from speechbrain_fv.evaluation.attributes import attributes_table
from speechbrain_fv.evaluation.report import check_value
from speechbrain_fv.files import only_process, replacing
from speechbrain_fv.losses import TrainingSet
from speechbrain_fv.messages import in_one_line
from speechbrain_fv.protocols.ages import with_age_groups
from speechbrain_fv.protocols.leakage import TrainIdentities
from speechbrain_fv.protocols.strata import undefined_reason
from speechbrain_fv.pseudo_labels.agreement import pair_clips
from speechbrain_fv.scores import frozen
from speechbrain_fv.settings.run_options import check_modules, check_steps
from speechbrain_fv.training import features, media_cache
from speechbrain_fv.training.brain import MODALITIES, FaceVoiceBrain
from speechbrain_fv.training.images import use_own_images
from speechbrain_fv.training.record import (
    OtherData,
    check_record,
    restoring,
    settings_of,
    write_record,
)
from speechbrain_fv.training.schedules import parameter_groups
from speechbrain_fv.training.starting import check_unseen, seen_before, start_from
from speechbrain_fv.training.vectors import check_widths, fit_networks, vector_width

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingClips:
    """The training clips as the Brain and the losses need them.

    classes : dict of str to data.classes.Classes, by attribute that a loss needs and the corpus has
    labels : dict of str to dict of str to torch.Tensor, by modality and attribute, of every clip
    loader : torch.utils.data.DataLoader, of all training clips, without augmentation
    sample : torch.utils.data.DataLoader, of a pair of each identity, `MAX_SAMPLE` at most
    """

    classes: dict
    labels: dict
    loader: torch.utils.data.DataLoader
    sample: torch.utils.data.DataLoader


MAX_SAMPLE = 1024
"""Training pairs of which the report tells what it tells of all validation and test pairs."""


def check_method(hparams, run_opts):
    """Raises ValueError, before anything is read, if the parts of a method do not fit together.

    Arguments
    ---------
    hparams : dict
        The loaded YAML.
    run_opts : mapping
        SpeechBrain's run options.
    """
    objective, score = hparams["objective"], hparams["score"]
    frozen(score)
    try:
        check_value(hparams["monitor"], score)
    except ValueError as error:
        raise ValueError(f"monitor: {error}") from error
    hparams["loss_weights"].check(objective.terms)
    objective.check_batch_size(hparams["batch_size"] * distributed.world()[1])
    sampler = getattr(hparams["sampler"], "func", None)
    if not (isinstance(sampler, type) and issubclass(sampler, BatchSampler)):
        raise ValueError(
            "sampler: expected a subclass of speechbrain_fv.data.samplers.BatchSampler by !name:, "
            f"got {getattr(sampler, '__name__', type(hparams['sampler']).__name__)}"
        )
    if objective.needs_pairs and not sampler.paired:
        raise ValueError(
            f"sampler: expected one that draws pairs of one identity, which the loss "
            f"{objective.needs_pairs[0]} needs, got {sampler.__name__}"
        )
    if sampler_length := hparams["sampler"].keywords.get("steps_per_epoch"):
        check_steps(run_opts, sampler_length)
    check_modules(run_opts, hparams["modules"])
    hparams["lr_schedule"](total_steps=1)
    if factors := hparams.get("lr_factors"):
        if run_opts["remove_vector_weight_decay"]:
            raise ValueError("lr_factors: expected none beside --remove_vector_weight_decay")
        parameter_groups(torch.nn.ModuleDict(hparams["modules"]), factors)
    if objective.terms:
        try:
            hparams["opt_class"]([torch.zeros(1, requires_grad=True)])
        except (TypeError, ValueError) as error:
            raise ValueError(f"opt_class: {in_one_line(error)}") from error
    trained = {id(parameter) for parameter in objective.parameters()}
    for name, parameter in score.named_parameters():
        if parameter.requires_grad and id(parameter) not in trained:
            raise ValueError(
                f"score: expected weights that a loss trains, got {name} of {type(score).__name__} "
                "in no loss; hand the score to the loss with !ref <score>"
            )


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


def validated(tables, kind, hparams):
    """Returns the tables of a modality, the one for validation cut to `valid_clips` rows.

    Arguments
    ---------
    tables : dict of str to pandas.DataFrame
        By split.
    kind : str
        "faces" or "voices", for the log.
    hparams : dict
        The loaded YAML; the choice is drawn from its seed, the same in every epoch.
    """
    rows = tables["valid"]
    kept = spread_clips(rows, hparams.get("valid_clips"), hparams["seed"])
    if len(kept) < len(rows):
        logger.info(
            "validation: %d of %d %s, of %d of %d people, the same in every epoch (valid_clips)",
            *(len(kept), len(rows), kind, kept.spk_id.nunique(), rows.spk_id.nunique()),
        )
    return {**tables, "valid": kept}


def make_brain(hparams, run_opts, manifests, classes):
    """Returns the Brain and the loaders of the three splits.

    Arguments
    ---------
    hparams, run_opts : dict
        From `settings.loading.load_hparams`.
    manifests : data.manifests.Manifests
    classes : dict
        From `build_objective`.

    Returns
    -------
    brain : FaceVoiceBrain
    train, valid, test : torch.utils.data.DataLoader
    """
    tables = {
        "face": validated(manifests.faces, "faces", hparams),
        "voice": validated(manifests.voices, "voices", hparams),
    }
    datasets = {
        split: [
            clip_dataset(
                tables[modality][split],
                modality,
                hparams["corpus"][f"{modality}_reader"],
                classes if split == "train" else {},
            )
            for modality in MODALITIES
        ]
        for split in SPLITS
    }
    rank, num_processes = distributed.world()
    sampler = hparams["sampler"](
        *(tables[modality]["train"] for modality in MODALITIES),
        rank=rank,
        num_processes=num_processes,
    )
    workers = hparams["num_workers"]
    pinned = torch.device(run_opts["device"] or infer_device()).type == "cuda"
    train = training_loader(*datasets["train"], sampler, workers, pinned)
    rows = pair_clips(*(tables[modality]["train"].spk_id for modality in MODALITIES))
    sample = [
        clip_dataset(
            tables[modality]["train"].iloc[index[:MAX_SAMPLE]],
            modality,
            hparams["corpus"][f"{modality}_reader"],
            {},
        )
        for modality, index in zip(MODALITIES, rows, strict=True)
    ]
    dealt = hparams["batch_size"], workers, rank, num_processes
    every_train_clip, valid, test, sample = (
        evaluation_loader(*clips, *dealt, keep_rows, pinned)
        for clips, keep_rows in (
            *((datasets[split], split == "train") for split in SPLITS),
            (sample, True),
        )
    )
    check_steps(run_opts, len(sampler))
    steps_per_epoch, rest = divmod(len(sampler), run_opts["grad_accumulation_factor"])
    if rest:
        logger.warning(
            "grad_accumulation_factor: the last %d of the %d batches of an epoch make no step",
            rest,
            len(sampler),
        )
    hparams["num_steps"] = hparams["number_of_epochs"] * steps_per_epoch
    hparams["lr_schedule"] = hparams["lr_schedule"](total_steps=hparams["num_steps"])
    hparams["metadata"] = with_age_groups(manifests.identities, hparams["age_edges"])
    hparams["challenge"] = None
    if manifests.challenge:
        clips = [
            clip_dataset(table, modality, hparams["corpus"][f"{modality}_reader"], {})
            for modality, table in zip(MODALITIES, manifests.challenge, strict=True)
        ]
        hparams["challenge"] = evaluation_loader(*clips, *dealt, pin_memory=pinned)
    hparams["test_clips"] = attributes_table({m: tables[m]["test"] for m in MODALITIES})
    hparams["readers"] = {
        modality: hparams["corpus"][f"{modality}_reader"] for modality in MODALITIES
    }
    hparams["training"] = TrainingClips(
        classes,
        {
            modality: {
                name: torch.tensor(of.of(tables[modality]["train"])) for name, of in classes.items()
            }
            for modality in MODALITIES
        },
        every_train_clip,
        sample,
    )
    clips = (manifests.faces["train"], manifests.voices["train"])
    seen = seen_before(hparams["init_from"])
    check_unseen(seen, manifests.identities, hparams["allow_leakage"])
    if hparams["init_from"] is not None and not hparams["checkpointer"].list_checkpoints():
        start_from(hparams["init_from"], hparams["modules"])
    recoverables = {
        "lr_schedule": hparams["lr_schedule"],
        "dataloader-TRAIN": train,
        "train_identities": TrainIdentities(
            [*seen, *(name for table in clips for name in table.spk_id)]
        ),
    }
    if hparams["score"].state_dict():
        recoverables["score"] = hparams["score"]
    hparams["checkpointer"].add_recoverables(recoverables)
    if hparams.get("channels_last"):
        hparams["face_encoder"].to(memory_format=torch.channels_last)
    trains = bool(hparams["objective"].terms)
    brain = FaceVoiceBrain(
        hparams["modules"],
        hparams["opt_class"] if trains else None,
        hparams,
        run_opts,
        hparams["checkpointer"],
    )
    brain.train_sampler = sampler
    return brain, train, valid, test


@contextmanager
def only_run(output_folder, checkpointer):
    """Keeps the output folder for this run, and removes what a killed one left half-done there.

    Of several processes of one run the first has it.

    Arguments
    ---------
    output_folder : path
    checkpointer : AtomicCheckpointer

    Raises
    ------
    ValueError
        If another run is going on there.
    """
    if not if_main_process():
        yield
        return
    with only_process(output_folder):
        checkpointer.remove_unfinished()
        yield


def _files_of_vectors(corpus):
    """Returns the files of the corpus's readers whose bytes are the data, each once."""
    readers = (corpus["face_reader"], corpus["voice_reader"])
    alone = {str(reader.path) for reader in readers if hasattr(reader, "path")}
    return alone.union(*(getattr(reader, "paths", ()) for reader in readers))


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
