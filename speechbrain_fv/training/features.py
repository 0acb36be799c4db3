"""Frozen encoders: their features are computed once per clip, kept, and read in every step."""

import hashlib
import logging
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from speechbrain.utils.distributed import infer_device, run_on_main

from speechbrain_fv.data.digests import FileDigests
from speechbrain_fv.data.features import FeatureReader, FeatureStore, row_name
from speechbrain_fv.messages import progress_bar
from speechbrain_fv.precision import full_float32
from speechbrain_fv.settings.values import check_value
from speechbrain_fv.training.brain import MODALITIES
from speechbrain_fv.training.record import settings_under

logger = logging.getLogger(__name__)

FEATURES_VERSION = 1
"""To be raised when the same settings and weights come to give other features."""

PATH_COLUMNS = ("image", "wav")
"""Of a manifest, what names a clip's file."""


@dataclass(frozen=True)
class FrozenFeatures:
    """How the features of a frozen encoder are kept.

    Arguments
    ---------
    cache_folder : str
        They lie in its folder ``features``, which may be shared by many runs.
    num_views : int
        Augmented views of every training clip, of which training draws one; 0: training reads what
        evaluation does.
    batch_size : int
        Clips that go through the network at once.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    cache_folder: str = "data"
    num_views: int = 0
    batch_size: int = 64

    def __post_init__(self):
        for name in ("cache_folder", "num_views", "batch_size"):
            check_value((name,), getattr(self, name))


def is_cached(hparams, modality):
    """Whether the features of a modality are computed once: it is frozen, and fed media."""
    reader = hparams["corpus"][f"{modality}_reader"]
    return (
        hparams.get("frozen_features") is not None
        and getattr(hparams[f"{modality}_encoder"], "frozen_network", None) is not None
        and any(column in PATH_COLUMNS for column in reader.takes)
    )


def describe(hparams, resolved_yaml, run_opts):
    """Returns what cached features are of, by modality: the network's weights and the settings.

    Arguments
    ---------
    hparams : dict
        The loaded YAML.
    resolved_yaml : str
        Its text with all bases, overrides and includes in place.
    run_opts : mapping
        SpeechBrain's run options.

    Returns
    -------
    dict of str to dict of str to str
        None of a modality whose features are not cached.
    """
    import timm

    described = {}
    for modality in filter(lambda modality: is_cached(hparams, modality), MODALITIES):
        encoder = hparams[f"{modality}_encoder"]
        network = f"{modality}_encoder.network" + ("" if encoder.head is None else ".network")
        parts = [network, *(f"{modality}_encoder.{part}" for part in ("features", "normalize"))]
        described[modality] = {
            "code": f"{FEATURES_VERSION}, timm {timm.__version__}",
            "weights": weights_digest(encoder.frozen_network),
            "device": torch.device(run_opts["device"] or infer_device()).type,
            **settings_under(resolved_yaml, [*parts, f"corpus.{modality}_reader"]),
        }
    return described


def settings_of_views(hparams, described):
    """Returns what of cached features makes a run's result, for its record."""
    return {
        f"frozen.{modality}": f"weights {about['weights']}, num_views "
        f"{hparams['frozen_features'].num_views}"
        for modality, about in described.items()
    }


def weights_digest(network):
    """Returns 16 hexadecimal digits that tell apart networks of other weights or buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        if isinstance(value, torch.Tensor):
            array = value.detach().cpu().contiguous()
            digest.update(f"{name} {array.dtype} {tuple(array.shape)}".encode())
            digest.update(array.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def use_features(hparams, run_opts, manifests, described):
    """Lets training and evaluation read the features of frozen encoders, computing what is missing.

    The readers of the corpus are replaced. The first of several processes computes, the others
    wait.

    Arguments
    ---------
    hparams : dict
        The loaded YAML.
    run_opts : mapping
        SpeechBrain's run options.
    manifests : data.manifests.Manifests
    described : dict
        Result of `describe`.

    Raises
    ------
    ValueError
        If a file cannot be read, a feature is not finite, or the folder cannot be written.
    """
    for modality, about in described.items():
        settings = hparams["frozen_features"]
        folder = Path(settings.cache_folder, "features")
        key = hashlib.sha256(repr(sorted(about.items())).encode()).hexdigest()[:16]
        store = FeatureStore(folder / f"{modality}-{key}", about)
        encoder, reader = hparams[f"{modality}_encoder"], hparams["corpus"][f"{modality}_reader"]
        tables = tables_of(manifests, modality)
        digests = FileDigests(folder / "files.jsonl")
        wanted = rows_wanted(tables, reader, settings.num_views, digests)
        device = run_opts["device"] or infer_device()
        run_on_main(
            _fill,
            [store, wanted, encoder, reader, device],
            {"batch_size": settings.batch_size, "num_workers": hparams["num_workers"]},
        )
        places = store.rows([name for names, _ in wanted.values() for name in names])
        rows = {clip: tuple(places[name] for name in names) for clip, (names, _) in wanted.items()}
        hparams["corpus"][f"{modality}_reader"] = FeatureReader(store, rows)
        encoder.takes_features = True


def tables_of(manifests, modality):
    """Returns the clips of a modality by split, and those of a challenge as "challenge"."""
    tables = dict(manifests.faces if modality == "face" else manifests.voices)
    if manifests.challenge:
        tables["challenge"] = manifests.challenge[modality == "voice"]
    return tables


def rows_wanted(tables, reader, num_views, digests):
    """Returns by clip the names of its rows, those of views last, and what the reader takes."""
    wanted = {}
    column = next(column for column in reader.takes if column in PATH_COLUMNS)
    for split, table in tables.items():
        rows = table.to_dict("records")
        of_file = digests.of([row[column] for row in rows])
        for row in rows:
            taken = {name: row[name] for name in reader.takes}
            facts = {name: value for name, value in taken.items() if name != column}
            parts = [of_file[row[column]], *(f"{name}={facts[name]}" for name in sorted(facts))]
            views = range(1 + num_views if split == "train" else 1)
            if split == "challenge" and row["ID"] in wanted:
                continue  # a clip of the corpus that a list names too
            wanted[row["ID"]] = [row_name(*parts, view) for view in views], taken
    return wanted


class _Views(torch.utils.data.Dataset):
    """What the network is fed, by the number of a row; view 0 is as evaluation reads the clip."""

    def __init__(self, rows, reader):
        self.rows, self.reader = rows, reader

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        name, view, taken = self.rows[index]
        return self.reader(**taken, draw=zlib.crc32(name) if view else None)


def _fill(store, wanted, encoder, reader, device, batch_size, num_workers):
    """Computes the rows that a store lacks, and keeps them batch by batch."""
    kind = store.folder.name.split("-")[0]
    rows = {
        name: (name, view, taken)
        for names, taken in wanted.values()
        for view, name in enumerate(names)
    }
    if len(store.rows(rows)) == len(rows):  # also where the folder cannot be written
        logger.info("%s features: all %d are in %s", kind, len(rows), store.folder)
        return
    with store.filling():
        there = store.rows(rows)
        missing = [row for name, row in rows.items() if name not in there]
        if not missing:
            logger.info("%s features: all %d are in %s", kind, len(there), store.folder)
            return
        start = time.perf_counter()
        with progress_bar(total=len(missing), desc=f"{kind} features", unit="clip") as bar:
            for batch, vectors in computed(
                encoder, reader, missing, device, batch_size, num_workers
            ):
                store.add([name for name, _, _ in batch], vectors.numpy())
                bar.update(len(batch))
    logger.info(
        "%s features: computed %d at %.1f clips/s, %d were there, in %s",
        *(kind, len(missing), len(missing) / (time.perf_counter() - start)),
        *(len(there), store.folder),
    )


def computed(encoder, reader, rows, device, batch_size=64, num_workers=0):
    """Yields the features of clips, batch by batch, by the frozen part of an encoder.

    Arguments
    ---------
    encoder : FaceEncoder or VoiceEncoder
    reader : callable
        That of the corpus.
    rows : sequence of (bytes, int, dict)
        The name of a row, the view, and what the reader takes.
    device : str
    batch_size, num_workers : int
        Clips that go through the network at once, and processes that read.

    Yields
    ------
    batch : sequence of the rows
    features : torch.Tensor of float32, shape (len(batch), D), on the CPU

    Raises
    ------
    ValueError
        If features are not finite; the text names the file.
    """
    loader = torch.utils.data.DataLoader(
        _Views(rows, reader),
        batch_size,
        num_workers=num_workers,
        collate_fn=torch.stack,
        generator=torch.Generator(),  # else the training's own random numbers would be others
    )
    encoder.to(device).eval()
    start = 0
    for inputs in loader:
        inputs = inputs.to(device)
        lens = [torch.ones(len(inputs), device=device)] if "wav" in reader.takes else []
        with torch.no_grad(), full_float32(torch.device(device).type):
            features = encoder.features_of(inputs, *lens).float().cpu()
        batch = rows[start : start + len(inputs)]
        start += len(inputs)
        sound = features.isfinite().all(dim=1) & features.any(dim=1)
        if not sound.all():
            taken = batch[int((~sound).nonzero()[0])][2]
            path = next(taken[name] for name in PATH_COLUMNS if name in taken)
            raise ValueError(
                f"{path}: the frozen network gives zeros, NaN or infinity for it; take other "
                "weights, or leave the clip out"
            )
        yield batch, features
