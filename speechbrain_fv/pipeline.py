"""From manifest rows to batches: readers, datasets, the pair sampler, loaders.

Randomness is stateless. The sampler draws an epoch's pairs from (seed, epoch) and gives every pair
its own `draw`, a number from which the readers take crops, flips and windows. So an epoch is the
same however many workers read it and wherever a run was interrupted.
"""

import functools

import numpy as np
import torch
import torchaudio
from speechbrain.dataio import audio_io
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import SaveableDataLoader
from speechbrain.dataio.dataset import DynamicItemDataset
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from speechbrain_fv.losses.identity import UNKNOWN
from speechbrain_fv.schema import parse_speech


class ImageReader:
    """Reads a face: resized, cropped at random and flipped for training, centre crop otherwise.

    Arguments
    ---------
    image_size : int
        Side of the square crop, in pixels.
    resize : int
        Length to which the image's shorter side is resized first, in pixels, at least `image_size`.

    Raises
    ------
    ValueError
        If `resize` is smaller than `image_size`.
    """

    takes = ("image",)

    def __init__(self, image_size, resize):
        if resize < image_size:
            raise ValueError(f"resize: expected at least image_size = {image_size}, got {resize}")
        resized = v2.Resize(resize, antialias=True)
        normalised = [
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
        ]
        self.augmented = v2.Compose(
            [resized, v2.RandomCrop(image_size), v2.RandomHorizontalFlip(0.5), *normalised]
        )
        self.centred = v2.Compose([resized, v2.CenterCrop(image_size), *normalised])

    def __call__(self, image, draw):
        """Returns a normalised face.

        Arguments
        ---------
        image : str
            Path of the image file.
        draw : int or None
            Seed of the augmentation; None for evaluation.

        Returns
        -------
        face : torch.Tensor of float32, shape (3, image_size, image_size)
        """
        try:
            pixels = decode_image(image, mode=ImageReadMode.RGB)
        except RuntimeError as error:
            raise _changed(image, error) from error
        if draw is None:
            return self.centred(pixels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(draw)
            return self.augmented(pixels)


class SpeechReader:
    """Reads a window of a clip's speech; only the samples of the window leave the disk.

    The speech segments of a clip, joined, are one stretch of time. From a stretch longer than the
    window a window is drawn for training, and the middle taken otherwise; a shorter one is tiled.

    Arguments
    ---------
    clip_seconds : float
        Length of the window, in seconds.
    sample_rate : int
        Rate of the returned samples, in Hz; files at other rates are resampled.
    """

    takes = ("wav", "start", "stop", "speech")

    def __init__(self, clip_seconds, sample_rate=16000):
        self.sample_rate = sample_rate
        self.num_samples = round(clip_seconds * sample_rate)

    def __call__(self, wav, start, stop, speech, draw):
        """Returns a mono window.

        Arguments
        ---------
        wav : str
            Path of the audio file.
        start, stop : int
            The clip, in samples of the file.
        speech : str
            Its speech segments as "start:stop;start:stop", empty for all of it.
        draw : int or None
            Seed of the window; None for evaluation.

        Returns
        -------
        samples : torch.Tensor of float32, shape (clip_seconds x sample_rate,)
            In [-1, 1].
        """
        segments = parse_speech(speech) or [(start, stop)]
        try:
            rate = audio_io.info(wav).sample_rate
            wanted = -(-self.num_samples * rate // self.sample_rate)  # in samples of the file
            spare = sum(last - first for first, last in segments) - wanted
            offset = 0
            if spare > 0:
                offset = spare // 2 if draw is None else np.random.default_rng(draw).integers(spare)
            window = torch.cat(
                [
                    audio_io.load(wav, frame_offset=first, num_frames=last - first)[0].mean(dim=0)
                    for first, last in _cut(segments, int(offset), wanted)
                ]
            )
        except (RuntimeError, OSError) as error:
            raise _changed(wav, error) from error
        if window.numel() == 0:
            raise _changed(wav, "no samples where the manifest has speech")
        if rate != self.sample_rate:
            window = torchaudio.functional.resample(window, rate, self.sample_rate)
        return window.repeat(-(-self.num_samples // len(window)))[: self.num_samples]


class EmbeddingReader:
    """Reads a clip's precomputed vector from an `.npz` file.

    Arguments
    ---------
    path : str
        The file.
    ids_key : str
        Name of its array of clip IDs, shape (N,).
    vectors_key : str
        Name of its array of vectors, shape (N, D).
    """

    takes = ("ID",)

    def __init__(self, path, ids_key, vectors_key):
        self.path, self.ids_key, self.vectors_key = path, ids_key, vectors_key

    @functools.cached_property
    def _vectors(self):
        with np.load(self.path, allow_pickle=False) as arrays:
            vectors = torch.from_numpy(arrays[self.vectors_key].astype(np.float32))
            return dict(zip(arrays[self.ids_key].tolist(), vectors, strict=True))

    def __call__(self, clip, draw):
        """Returns the vector of a clip, shape (D,); nothing is drawn."""
        return self._vectors[clip]


def _cut(segments, offset, length):
    """The parts of (start, stop) segments that a window of their joined time covers."""
    parts = []
    for first, last in segments:
        begin = first + min(offset, last - first)
        end = min(last, begin + length)
        offset -= begin - first
        length -= end - begin
        if end > begin:
            parts.append((begin, end))
    return parts


def _changed(path, error):
    return ValueError(
        f"{path}: cannot be read although the preparation could ({error}); restore the file, or "
        "delete the run's manifests folder to prepare again"
    )


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

    Arguments
    ---------
    face_identities, voice_identities : sequence of str
        The identity of every face and of every voice.
    batch_size : int
        Pairs per batch.
    steps_per_epoch : int, optional
        Batches per epoch; by default as many as cover each voice once.
    sampling : str
        "identities": every identity equally often, so that a batch repeats one only when there are
        fewer identities than pairs. "clips": every voice clip equally often, with a face of the
        same identity.
    seed : int
        Seed of all draws.

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
    ):
        if sampling not in ("identities", "clips"):
            raise ValueError(f"sampling: expected 'identities' or 'clips', got {sampling!r}")
        if steps_per_epoch is None:
            steps_per_epoch = -(-len(voice_identities) // batch_size)
        if batch_size < 1 or steps_per_epoch < 1:
            raise ValueError(
                "batch_size and steps_per_epoch: expected positive numbers, got "
                f"{batch_size} and {steps_per_epoch}"
            )
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.sampling = sampling
        self.seed = seed
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
        num_pairs = self.steps_per_epoch * self.batch_size
        if self.sampling == "clips":
            voices = _shuffled_rounds(len(self.identity_of_voice), num_pairs, rng)
            identities = self.identity_of_voice[voices]
        else:
            identities = _shuffled_rounds(len(self.identities), num_pairs, rng)
            voices = self.voices.draw(identities, rng)
        faces = self.faces.draw(identities, rng)
        draws = rng.integers(2**32, size=num_pairs)
        pairs = list(zip(faces.tolist(), voices.tolist(), draws.tolist(), strict=True))
        for start in range(0, num_pairs, self.batch_size):
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


def evaluation_loader(faces, voices, batch_size, num_workers=0):
    """Returns the loader of all faces, then all voices, in batches of one modality.

    Arguments
    ---------
    faces, voices : DynamicItemDataset
        Results of `clip_dataset` for the split.
    batch_size : int
        Clips per batch.
    num_workers : int
        Processes that read; 0 reads in this one.

    Returns
    -------
    loader : torch.utils.data.DataLoader
    """
    batches = [
        [(modality, index) for index in range(start, min(start + batch_size, len(dataset)))]
        for modality, dataset in (("face", faces), ("voice", voices))
        for start in range(0, len(dataset), batch_size)
    ]
    return torch.utils.data.DataLoader(
        ClipDataset(faces, voices),
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=_collate,
    )


def _collate(items):
    return PaddedBatch(items, padded_keys=["voice"])
