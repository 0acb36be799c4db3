"""From settings, manifests and classes to a Brain that can train: checks, loaders, optimiser."""

import logging
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from speechbrain.utils.distributed import if_main_process, infer_device

from speechbrain_fv import distributed
from speechbrain_fv.data.pairs import clip_dataset, evaluation_loader, training_loader
from speechbrain_fv.data.samplers import BatchSampler
from speechbrain_fv.data.schema import SPLITS
from speechbrain_fv.data.selection import spread_clips
from speechbrain_fv.evaluation.attributes import attributes_table
from speechbrain_fv.evaluation.report import check_value
from speechbrain_fv.files import only_process
from speechbrain_fv.messages import in_one_line
from speechbrain_fv.protocols.ages import with_age_groups
from speechbrain_fv.protocols.leakage import TrainIdentities
from speechbrain_fv.pseudo_labels.agreement import pair_clips
from speechbrain_fv.scores import frozen
from speechbrain_fv.settings.run_options import check_modules, check_steps
from speechbrain_fv.training.brain import MODALITIES, FaceVoiceBrain
from speechbrain_fv.training.schedules import parameter_groups
from speechbrain_fv.training.starting import check_unseen, seen_before, start_from

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
        From `preparing.prepared`.

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
