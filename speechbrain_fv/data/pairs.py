"""From manifest rows to batches: datasets, the pair sampler, loaders.

Randomness is stateless. The sampler draws an epoch's pairs from (seed, epoch) and gives every pair
its own `draw`, a number from which the readers take crops, flips and windows. So an epoch is the
same however many workers read it and wherever a run was interrupted.
"""

import functools

import numpy as np
import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import SaveableDataLoader
from speechbrain.dataio.dataset import DynamicItemDataset

from speechbrain_fv.data.schema import UNKNOWN


def clip_dataset(table, modality, reader, classes):
    """Returns the SpeechBrain dataset of one modality of one split.

    Arguments
    ---------
    table : pandas.DataFrame
        Rows of a manifest, for faces or for voices.
    modality : str
        "face" or "voice".
    reader : callable
        Takes the columns named by its `takes`, and `draw`.
    classes : dict of str to dict of str to int
        Attribute -> identity -> class index; an identity that is missing is unknown, -1.

    Returns
    -------
    dataset : DynamicItemDataset
        Items with ``<modality>_id``, ``<modality>`` and, per attribute, its class index.
    """
    rows = {row["ID"]: {**row, "draw": None} for row in table.to_dict("records")}
    dataset = DynamicItemDataset(rows)
    dataset.add_dynamic_item(reader, takes=[*reader.takes, "draw"], provides=modality)
    for attribute, class_of in classes.items():
        dataset.add_dynamic_item(
            functools.partial(_class_index, class_of), takes="spk_id", provides=attribute
        )
    outputs = {f"{modality}_id": "id", modality: modality, "spk_id": "spk_id"}
    dataset.set_output_keys({**outputs, **{name: name for name in classes}})
    return dataset


def _class_index(class_of, identity):
    return torch.tensor(class_of.get(identity, UNKNOWN))


class PairDataset(torch.utils.data.Dataset):
    """The training pairs: indexed by (face index, voice index, draw), as `PairSampler` yields them.

    Arguments
    ---------
    faces, voices : DynamicItemDataset
        Results of `clip_dataset`.
    """

    def __init__(self, faces, voices):
        self.faces, self.voices = faces, voices

    def __len__(self):
        return max(len(self.faces), len(self.voices))

    def __getitem__(self, pair):
        face_index, voice_index, draw = pair
        face = self._item(self.faces, face_index, draw)
        return {**face, **self._item(self.voices, voice_index, draw)}

    @staticmethod
    def _item(dataset, index, draw):
        clip = dataset.data_ids[index]
        return dataset.pipeline.compute_outputs({**dataset.data[clip], "id": clip, "draw": draw})


class ClipDataset(torch.utils.data.Dataset):
    """The clips of a split for evaluation: indexed by (modality, index).

    Arguments
    ---------
    faces, voices : DynamicItemDataset
        Results of `clip_dataset`.
    """

    def __init__(self, faces, voices):
        self.datasets = {"face": faces, "voice": voices}

    def __len__(self):
        return sum(len(dataset) for dataset in self.datasets.values())

    def __getitem__(self, clip):
        modality, index = clip
        return self.datasets[modality][index]


class PairSampler(torch.utils.data.Sampler):
    """Yields batches of pairs, drawn afresh each epoch from (seed, epoch).

    With several processes the global batch is drawn, and each process gets its slice: two with 64
    pairs see what one with 128 sees.

    Arguments
    ---------
    face_identities, voice_identities : sequence of str
        The identity of every face and of every voice.
    batch_size : int
        Pairs per batch of a process.
    steps_per_epoch : int, optional
        Batches per epoch; by default as many as cover each voice once.
    sampling : str
        "identities": every identity equally often, so that a batch repeats one only when there are
        fewer identities than pairs. "clips": every voice clip equally often, with a face of the
        same identity.
    seed : int
        Seed of all draws.
    rank, num_processes : int
        Which process this one is, in [0, num_processes), and of how many.

    Raises
    ------
    ValueError
        If `sampling` is neither of the two, or a number is not positive.

    Example
    -------
    >>> sampler = PairSampler(["a", "b", "a"], ["b", "a"], batch_size=2, seed=1)
    >>> [[(face, voice) for face, voice, _ in batch] for batch in sampler]
    [[(2, 1), (1, 0)]]
    """

    def __init__(
        self,
        face_identities,
        voice_identities,
        batch_size,
        steps_per_epoch=None,
        sampling="identities",
        seed=0,
        rank=0,
        num_processes=1,
    ):
        if sampling not in ("identities", "clips"):
            raise ValueError(f"sampling: expected 'identities' or 'clips', got {sampling!r}")
        if steps_per_epoch is None:
            steps_per_epoch = -(-len(voice_identities) // max(1, batch_size * num_processes))
        if batch_size < 1 or steps_per_epoch < 1:
            raise ValueError(
                "batch_size and steps_per_epoch: expected positive numbers, got "
                f"{batch_size} and {steps_per_epoch}"
            )
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.sampling = sampling
        self.seed = seed
        self.rank, self.num_processes = rank, num_processes
        self.epoch = 0
        self.identities, self.identity_of_voice = np.unique(voice_identities, return_inverse=True)
        self.faces = _ClipsByIdentity(face_identities, self.identities)
        self.voices = _ClipsByIdentity(voice_identities, self.identities)

    def set_epoch(self, epoch):
        """Chooses the epoch that the next iteration draws; SpeechBrain's Brain calls it."""
        self.epoch = epoch

    def __len__(self):
        return self.steps_per_epoch

    def __iter__(self):
        rng = np.random.default_rng([self.seed, self.epoch])
        global_size = self.batch_size * self.num_processes
        num_pairs = self.steps_per_epoch * global_size
        if self.sampling == "clips":
            voices = _shuffled_rounds(len(self.identity_of_voice), num_pairs, rng)
            identities = self.identity_of_voice[voices]
        else:
            identities = _shuffled_rounds(len(self.identities), num_pairs, rng)
            voices = self.voices.draw(identities, rng)
        faces = self.faces.draw(identities, rng)
        draws = rng.integers(2**32, size=num_pairs)
        pairs = list(zip(faces.tolist(), voices.tolist(), draws.tolist(), strict=True))
        for start in range(self.rank * self.batch_size, num_pairs, global_size):
            yield pairs[start : start + self.batch_size]


class _ClipsByIdentity:
    """The clips of every identity, to draw one at random for many identities at once."""

    def __init__(self, identity_of_clip, identities):
        numbers = np.searchsorted(identities, identity_of_clip)
        self.clips = np.argsort(numbers, kind="stable")
        self.counts = np.bincount(numbers, minlength=len(identities))
        self.starts = np.cumsum(self.counts) - self.counts

    def draw(self, numbers, rng):
        """Returns one clip index for each identity number."""
        return self.clips[self.starts[numbers] + rng.integers(self.counts[numbers])]


def _shuffled_rounds(count, length, rng):
    """Numbers below `count` in random order, every one once before any comes again."""
    rounds = -(-length // count)
    return np.concatenate([rng.permutation(count) for _ in range(rounds)])[:length]


def training_loader(faces, voices, sampler, num_workers=0):
    """Returns the loader of training pairs, which SpeechBrain can checkpoint in mid-epoch.

    Arguments
    ---------
    faces, voices : DynamicItemDataset
        Results of `clip_dataset` for the training split.
    sampler : PairSampler
        Draws the batches.
    num_workers : int
        Processes that read; 0 reads in this one.

    Returns
    -------
    loader : SaveableDataLoader
        Batches with ``face`` (B, ...), ``voice`` (padded, with lengths), their IDs and the classes.
    """
    return SaveableDataLoader(
        PairDataset(faces, voices),
        batch_sampler=sampler,
        num_workers=num_workers,
        collate_fn=_collate,
        persistent_workers=num_workers > 0,
    )


def evaluation_loader(faces, voices, batch_size, num_workers=0, rank=0, num_processes=1):
    """Returns the loader of all faces and all voices, in batches of one modality, by turns.

    Several processes deal the batches of either modality among themselves, in turn.

    By turns, because SpeechBrain's ``--debug`` looks at the first two batches only.

    Arguments
    ---------
    faces, voices : DynamicItemDataset
        Results of `clip_dataset` for the split.
    batch_size : int
        Clips per batch.
    num_workers : int
        Processes that read; 0 reads in this one.
    rank, num_processes : int
        Which process this one is, in [0, num_processes), and of how many.

    Returns
    -------
    loader : torch.utils.data.DataLoader
    """
    batches = [
        [(modality, index) for index in range(start, min(start + batch_size, len(dataset)))]
        for start in range(
            rank * batch_size, max(len(faces), len(voices)), num_processes * batch_size
        )
        for modality, dataset in (("face", faces), ("voice", voices))
        if start < len(dataset)
    ]
    return torch.utils.data.DataLoader(
        ClipDataset(faces, voices),
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=_collate,
    )


def _collate(items):
    return PaddedBatch(items, padded_keys=["voice"])
