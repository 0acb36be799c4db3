"""From manifest rows to batches: datasets and loaders.

Randomness is stateless. A sampler draws an epoch's rows from (seed, epoch) and gives every row its
own `draw`, a number from which the readers take crops, flips and windows. So an epoch is the same
however many workers read it and wherever a run was interrupted.
"""

import functools
import itertools
from types import SimpleNamespace

import torch
from speechbrain.dataio.batch import PaddedBatch, PaddedData
from speechbrain.dataio.dataloader import SaveableDataLoader
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.data_utils import batch_pad_right

from speechbrain_fv.data.readers import LostFile
from speechbrain_fv.data.rows import Rows


def clip_dataset(table, modality, reader, classes):
    """Returns the SpeechBrain dataset of one modality of one split.

    Arguments
    ---------
    table : pandas.DataFrame
        Rows of a manifest, for faces or for voices.
    modality : str
        "face" or "voice".
    reader : callable
        Takes the columns named by its `takes`, and `draw`. Of one with a method `raw` that is what
        is called, and the batch is to be `finished`.
    classes : dict of str to Classes
        Attribute -> classes, as `training_classes` returns them.

    Returns
    -------
    dataset : DynamicItemDataset
        Items with ``<modality>``, ``<modality>_id``, ``<modality>_identity``, ``<modality>_clip``,
        the row of the table, and per attribute ``<modality>_<attribute>_class``, -1 if unknown.
    """
    numbers = {f"{modality}_{name}_class": each.of(table) for name, each in classes.items()}
    numbers[f"{modality}_clip"] = range(len(table))
    needed = [*dict.fromkeys(("ID", "spk_id", *reader.takes))]
    dataset = DynamicItemDataset(Rows(table[needed].assign(**numbers), draw=None))
    dataset.data_ids = range(len(table))  # not a list, of which every process would have a copy
    raw = getattr(reader, "raw", reader)
    dataset.add_dynamic_item(raw, takes=[*reader.takes, "draw"], provides=modality)
    outputs = {modality: modality, f"{modality}_id": "ID", f"{modality}_identity": "spk_id"}
    dataset.set_output_keys({**outputs, **{name: name for name in numbers}})
    return dataset


MOST_TRIED = 16
"""People who are looked at for a readable clip where one has none left: a disk may be gone."""


class PairDataset(torch.utils.data.Dataset):
    """The training rows: indexed by (face row, voice row, draw), as a `BatchSampler` yields them.

    For a lost file stands the person's next one; of a person with none left a pair of the next
    person, whatever else is in the batch: several processes thus train on what one would.

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
        lost = []
        for rows in itertools.chain([(face_index, voice_index)], self._pairs_after(voice_index)):
            face, lost_faces = _readable_item(self.faces, rows[0], draw)
            voice, lost_voices = _readable_item(self.voices, rows[1], draw)
            lost += lost_faces + lost_voices
            if face and voice:
                return {**face, **voice, "lost": lost}
        raise _none_left(lost)

    def _pairs_after(self, voice_index):
        """Yields a face row and a voice row of the people who follow the owner of a voice."""
        for row in _next_people(self.voices, voice_index):
            name = self.voices.data.columns["spk_id"][row]
            if name in self._first_faces:
                yield self._first_faces[name], row

    @functools.cached_property
    def _first_faces(self):
        """Person -> the first row of a face."""
        owners = self.faces.data.columns["spk_id"]
        return {owners[row]: row for row in reversed(range(len(owners)))}


def _next_people(dataset, index):
    """Yields the first row of each of the next people after the owner of a row."""
    owners = dataset.data.columns["spk_id"]
    seen = {owners[index]}
    for row in itertools.chain(range(index + 1, len(owners)), range(index)):
        if owners[row] not in seen:
            yield row
            seen.add(owners[row])
            if len(seen) > MOST_TRIED:
                return


def _none_left(lost):
    path, text = lost[0][0], lost[0][1]
    return LostFile(f"{text}; nor can the files of the next people be read", path)


def _item(dataset, index, draw=None):
    return dataset.pipeline.compute_outputs({**dataset.data[index], "id": index, "draw": draw})


def _readable_item(dataset, index, draw=None):
    """An item, of a lost file the person's next one, {} without any; what could not be read."""
    lost = []
    owners = dataset.data.columns["spk_id"]
    for row in itertools.chain(range(index, len(owners)), range(index)):
        if row == index or owners[row] == owners[index]:
            try:
                return _item(dataset, row, draw), lost
            except LostFile as error:
                lost.append((error.path, error.text))
    return {}, lost


class ClipDataset(torch.utils.data.Dataset):
    """The clips of a split for evaluation: indexed by (modality, index).

    Arguments
    ---------
    faces, voices : DynamicItemDataset
        Results of `clip_dataset`.
    keep_rows : bool
        Whether something else stands for a lost file, so that no row is missing: the person's next
        one, or one of the next person.
    """

    def __init__(self, faces, voices, keep_rows=False):
        self.datasets = {"face": faces, "voice": voices}
        self.keep_rows = keep_rows

    def __len__(self):
        return sum(len(dataset) for dataset in self.datasets.values())

    def __getitem__(self, clip):
        modality, index = clip
        dataset = self.datasets[modality]
        if not self.keep_rows:
            try:
                return {**_item(dataset, index), "lost": []}
            except LostFile as error:
                return {"lost": [(error.path, error.text)]}
        lost = []
        for row in itertools.chain([index], _next_people(dataset, index)):
            item, lost_files = _readable_item(dataset, row)
            lost += lost_files
            if item:
                break
        else:
            raise _none_left(lost)
        if lost:  # under its own name, as labels go by rows
            row = dataset.data[index]
            own = {"id": row["ID"], "identity": row["spk_id"], "clip": index}
            item |= {f"{modality}_{name}": value for name, value in own.items()}
        return {**item, "lost": lost}


def training_loader(faces, voices, sampler, num_workers=0, pin_memory=False):
    """Returns the loader of training batches, which SpeechBrain can checkpoint in mid-epoch.

    Arguments
    ---------
    faces, voices : DynamicItemDataset
        Results of `clip_dataset` for the training split.
    sampler : BatchSampler
        Draws the rows of the batches.
    num_workers : int
        Processes that read; 0 reads in this one.
    pin_memory : bool
        Whether batches lie where a GPU fetches them faster.

    Returns
    -------
    loader : SaveableDataLoader
        Batches of B rows: ``face`` (B, ...), ``voice`` (padded, with lengths); and for either
        modality ``<modality>_id`` and ``<modality>_identity``, lists of text, ``<modality>_clip``
        and ``<modality>_<attribute>_class``, tensors of int64, shape (B,).
    """
    return SaveableDataLoader(
        PairDataset(faces, voices),
        batch_sampler=sampler,
        num_workers=num_workers,
        collate_fn=_collate,
        persistent_workers=num_workers > 0,
        pin_memory=pin_memory,
    )


def evaluation_loader(
    faces,
    voices,
    batch_size,
    num_workers=0,
    rank=0,
    num_processes=1,
    keep_rows=False,
    pin_memory=False,
):
    """Returns the loader of all faces and all voices, in batches of one modality, by turns.

    Several processes deal the batches of either modality among themselves, in turn.

    By turns, because SpeechBrain's ``--debug`` looks at the first two batches only. Nothing is
    augmented, so that the training split, too, can be embedded clip by clip.

    Arguments
    ---------
    faces, voices : DynamicItemDataset
        Results of `clip_dataset` for any split.
    batch_size : int
        Clips per batch.
    num_workers : int
        Processes that read; 0 reads in this one.
    rank, num_processes : int
        Which process this one is, in [0, num_processes), and of how many.
    keep_rows : bool
        As of `ClipDataset`.
    pin_memory : bool
        As of `training_loader`.

    Returns
    -------
    loader : torch.utils.data.DataLoader
        Batches with the names of `training_loader`, of one modality each, in order of the rows;
        ``lost`` says which files could not be read, and with all of them lost there is nothing
        else in a batch.
    """
    batches = _Turns((len(faces), len(voices)), batch_size, rank, num_processes)
    return torch.utils.data.DataLoader(
        ClipDataset(faces, voices, keep_rows),
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=_collate,
        pin_memory=pin_memory,
    )


class _Turns(torch.utils.data.Sampler):
    """The batches of `evaluation_loader`, made one at a time."""

    def __init__(self, counts, batch_size, rank, num_processes):
        first, step = rank * batch_size, num_processes * batch_size
        self.counts, self.batch_size = counts, batch_size
        self.starts = range(first, max(counts), step)
        self.num_batches = sum(len(range(first, count, step)) for count in counts)

    def __len__(self):
        return self.num_batches

    def __iter__(self):
        for start in self.starts:
            for modality, count in zip(("face", "voice"), self.counts, strict=True):
                if start < count:
                    stop = min(start + self.batch_size, count)
                    yield [(modality, index) for index in range(start, stop)]


def finished(batch, readers):
    """Returns a batch, by now on its device, with what the readers left to be done there.

    Arguments
    ---------
    batch : PaddedBatch
        Of the loaders of this file; it is changed.
    readers : dict of str to callable
        By modality.

    Returns
    -------
    batch : PaddedBatch
        With ``face`` and ``voice`` as the readers themselves return them, stacked.
    """
    for modality in batch.modalities:
        if finish := getattr(readers[modality], "finish", None):
            data = getattr(batch, modality)
            if modality == "voice":
                data = PaddedData(finish(data.data), data.lengths)
            else:
                data = finish(data)
            setattr(batch, modality, data)
    return batch


def _collate(items):
    """Returns the batch of some items, whose attribute `modalities` says what it holds."""
    lost = [file for item in items for file in item.pop("lost")]
    items = [item for item in items if item]
    batch = _padded(items) if items else SimpleNamespace()
    batch.modalities = tuple(name for name in ("face", "voice") if items and name in items[0])
    batch.lost = lost
    return batch


def _padded(items):
    """Returns items as SpeechBrain's batch, the numbers of all stacked.

    SpeechBrain would stack them in a way of which torch warns in every reading process.
    """
    numbers = [name for name, value in items[0].items() if not isinstance(value, str)]
    batch = PaddedBatch(items, ["voice"], numbers, _stacked, nonpadded_stack=False)
    for name in numbers:
        if name != "voice":
            setattr(batch, name, torch.utils.data.default_collate(getattr(batch, name)))
    return batch


def _stacked(clips):
    """As SpeechBrain's padding, but clips of one length are copied once, to where others read."""
    if len({clip.shape for clip in clips}) > 1:
        return batch_pad_right(clips)
    return torch.utils.data.default_collate(clips), torch.ones(len(clips))
