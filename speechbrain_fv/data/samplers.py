"""Samplers: which face and which voice every row of a training batch holds.

A sampler is a subclass of `BatchSampler` that writes `draw`; the base class does the rest, the
same for all: the randomness of an epoch, the global batch and the slices of several processes.
"""

import numpy as np
import pandas as pd
import torch

from speechbrain_fv.data.draws import Groups, distinct_rounds, shuffled_rounds
from speechbrain_fv.data.schema import named


class BatchSampler(torch.utils.data.Sampler):
    """Yields batches of rows (face, voice, draw), drawn afresh each epoch from (seed, epoch).

    `face` and `voice` are row numbers of the tables; `draw` seeds the crops, flips and windows of
    the two clips. With several processes the global batch is drawn, and each process gets its
    slice: two processes with 64 rows each give the batch of one with 128. A subclass writes `draw`
    and, if its rows are not pairs of one identity, sets `paired` to False.

    Arguments
    ---------
    faces, voices : pandas.DataFrame
        The training manifests, one row per clip, with the columns ID, spk_id and, if known, video.
    batch_size : int
        Rows per batch of a process, at least 1.
    steps_per_epoch : int, optional
        Batches per epoch, at least 1; by default as many as cover `num_covered` items once.
    seed : int
        Seed of all draws, at least 0.
    rank, num_processes : int
        Which process this one is, in [0, num_processes), and of how many.

    Raises
    ------
    ValueError
        If a number is out of range; while iterating, if `draw` returned something else than row
        numbers, or a row with two identities although `paired` is True.

    Example
    -------
    >>> class FirstFaces(BatchSampler):
    ...     '''Pairs every voice with the first face of its identity.'''
    ...     def draw(self, rng, num_rows):
    ...         voices = rng.integers(len(self.voices), size=num_rows)
    ...         first = self.faces.drop_duplicates("spk_id")
    ...         rows = pd.Series(first.index, first.spk_id)
    ...         return rows[self.voices.spk_id.to_numpy()[voices]].to_numpy(), voices
    >>> clips = pd.DataFrame({"ID": ["x", "y", "z"], "spk_id": ["a", "b", "a"]})
    >>> sampler = FirstFaces(clips, clips, batch_size=2, steps_per_epoch=1)
    >>> [[(face, voice) for face, voice, _ in batch] for batch in sampler]
    [[(0, 2), (1, 1)]]
    """

    paired = True

    def __init__(
        self, faces, voices, batch_size, steps_per_epoch=None, seed=0, rank=0, num_processes=1
    ):
        if batch_size < 1 or (steps_per_epoch is not None and steps_per_epoch < 1):
            raise ValueError(
                "batch_size and steps_per_epoch: expected positive numbers, got "
                f"{batch_size} and {steps_per_epoch}"
            )
        self.faces = faces.reset_index(drop=True)
        self.voices = voices.reset_index(drop=True)
        self.batch_size = batch_size
        self.global_batch_size = batch_size * num_processes
        self.steps_per_epoch = steps_per_epoch
        self.seed = seed
        self.rank, self.num_processes = rank, num_processes
        self.epoch = 0

    @property
    def num_covered(self):
        """How many rows an epoch has at least when `steps_per_epoch` is None: one per voice."""
        return len(self.voices)

    def draw(self, rng, num_rows):
        """Returns the rows of an epoch, batch after batch.

        Arguments
        ---------
        rng : numpy.random.Generator
            The only source of randomness.
        num_rows : int
            Rows of the epoch: `len(self)` batches of `self.global_batch_size` each.

        Returns
        -------
        face_rows, voice_rows : numpy.ndarray of int, shape (num_rows,)
            Row numbers of `self.faces` and `self.voices`.
        """
        raise NotImplementedError(f"{type(self).__name__}: write draw(self, rng, num_rows)")

    def set_epoch(self, epoch):
        """Chooses the epoch that the next iteration draws; SpeechBrain's Brain calls it."""
        self.epoch = epoch

    def __len__(self):
        return self.steps_per_epoch or -(-self.num_covered // self.global_batch_size)

    def __iter__(self):
        rng = np.random.default_rng([self.seed, self.epoch])
        num_rows = len(self) * self.global_batch_size
        faces, voices = self._checked(*self.draw(rng, num_rows), num_rows)
        draws = rng.integers(2**32, size=num_rows)
        for start in range(self.rank * self.batch_size, num_rows, self.global_batch_size):
            mine = slice(start, start + self.batch_size)
            columns = (column[mine].tolist() for column in (faces, voices, draws))
            yield list(zip(*columns, strict=True))

    def _checked(self, face_rows, voice_rows, num_rows):
        """The rows themselves, which `draw` must have returned as promised."""
        name = type(self).__name__
        rows = [np.asarray(face_rows), np.asarray(voice_rows)]
        for found, table, modality in zip(
            rows, (self.faces, self.voices), ("face", "voice"), strict=True
        ):
            if (
                found.shape != (num_rows,)
                or found.dtype.kind not in "iu"
                or found.min() < 0
                or found.max() >= len(table)
            ):
                raise ValueError(
                    f"{name}.draw: expected {num_rows} {modality} rows in [0, {len(table)}), got "
                    f"an array of {found.dtype} with shape {found.shape}"
                )
        if self.paired:
            owners = [
                table.spk_id.to_numpy()[found]
                for found, table in zip(rows, (self.faces, self.voices), strict=True)
            ]
            wrong = np.flatnonzero(owners[0] != owners[1])
            if len(wrong):
                raise ValueError(
                    f"{name}.draw: expected pairs of one identity, got a face of "
                    f"{owners[0][wrong[0]]} with a voice of {owners[1][wrong[0]]}; pair them, or "
                    "set paired = False"
                )
        return rows


class PairSampler(BatchSampler):
    """Pairs of one identity, drawn over identities or over clips.

    Arguments
    ---------
    faces, voices, batch_size, steps_per_epoch, seed, rank, num_processes
        As in `BatchSampler`.
    sampling : str
        "identities": every identity equally often, with one of its faces and one of its voices.
        "clips": every voice clip equally often, with a face of the same identity.

    Raises
    ------
    ValueError
        If `sampling` is neither of the two, or an identity has no face or no voice.

    Example
    -------
    >>> faces = pd.DataFrame({"ID": ["f0", "f1", "f2"], "spk_id": ["a", "b", "a"]})
    >>> voices = pd.DataFrame({"ID": ["v0", "v1"], "spk_id": ["b", "a"]})
    >>> sampler = PairSampler(faces, voices, batch_size=2, seed=1)
    >>> [[(face, voice) for face, voice, _ in batch] for batch in sampler]
    [[(2, 1), (1, 0)]]
    """

    def __init__(
        self,
        faces,
        voices,
        batch_size,
        steps_per_epoch=None,
        sampling="identities",
        seed=0,
        rank=0,
        num_processes=1,
    ):
        if sampling not in ("identities", "clips"):
            raise ValueError(f"sampling: expected 'identities' or 'clips', got {sampling!r}")
        super().__init__(faces, voices, batch_size, steps_per_epoch, seed, rank, num_processes)
        self.sampling = sampling
        self._groups = _identity_groups(self.faces, self.voices)

    def draw(self, rng, num_rows):
        """Returns the pairs of an epoch; see `BatchSampler.draw`."""
        faces, voices = self._groups
        if self.sampling == "clips":
            voice_rows = shuffled_rounds(len(self.voices), num_rows, rng)
            return faces.one(voices.group_of_clip[voice_rows], rng), voice_rows
        identities = shuffled_rounds(len(voices.counts), num_rows, rng)
        voice_rows = voices.one(identities, rng)
        return faces.one(identities, rng), voice_rows


class IdentitySampler(BatchSampler):
    """Batches of P distinct identities with M pairs each, for losses that compare within both.

    P is the global batch divided by M. Every identity comes equally often. The M faces of an
    identity differ as far as it has as many, and its voices likewise. M = 1 gives batches in which
    no identity comes twice.

    Arguments
    ---------
    faces, voices, batch_size, steps_per_epoch, seed, rank, num_processes
        As in `BatchSampler`.
    clips_per_identity : int
        M, at least 1; the M pairs of an identity are neighbours in the batch.

    Raises
    ------
    ValueError
        If M does not divide the global batch, there are fewer than P identities, or an identity
        has no face or no voice.

    Example
    -------
    >>> clips = pd.DataFrame({"ID": list("uvwxyz"), "spk_id": list("aabbcc")})
    >>> sampler = IdentitySampler(clips, clips, 4, steps_per_epoch=1, clips_per_identity=2)
    >>> (batch,) = sampler
    >>> [clips.spk_id[face] for face, _, _ in batch], sorted(face for face, _, _ in batch)
    (['c', 'c', 'a', 'a'], [0, 1, 4, 5])
    """

    def __init__(
        self,
        faces,
        voices,
        batch_size,
        steps_per_epoch=None,
        clips_per_identity=4,
        seed=0,
        rank=0,
        num_processes=1,
    ):
        super().__init__(faces, voices, batch_size, steps_per_epoch, seed, rank, num_processes)
        size = self.global_batch_size
        if clips_per_identity < 1 or size % clips_per_identity:
            raise ValueError(
                "clips_per_identity: expected a number that divides the batch of "
                f"{size} pairs over all processes, got {clips_per_identity}; change one of them"
            )
        self.clips_per_identity = clips_per_identity
        self.identities_per_batch = size // clips_per_identity
        self._groups = _identity_groups(self.faces, self.voices)
        num_identities = len(self._groups[0].counts)
        if num_identities < self.identities_per_batch:
            raise ValueError(
                f"IdentitySampler: expected at least {self.identities_per_batch} training "
                f"identities for batches of {size} pairs with {clips_per_identity} of each, got "
                f"{num_identities}; lower batch_size or raise clips_per_identity"
            )

    def draw(self, rng, num_rows):
        """Returns the pairs of an epoch; see `BatchSampler.draw`."""
        faces, voices = self._groups
        identities = distinct_rounds(
            len(faces.counts), num_rows // self.clips_per_identity, self.identities_per_batch, rng
        )
        voice_rows = voices.several(identities, self.clips_per_identity, rng)
        return faces.several(identities, self.clips_per_identity, rng), voice_rows


class VideoSampler(BatchSampler):
    """Pairs of one video: a face and a voice whose rows name the same video of one identity.

    Every video that has both comes equally often, and no video twice in a batch where there are
    enough. By default an epoch covers every such video once.

    Arguments
    ---------
    faces, voices, batch_size, steps_per_epoch, seed, rank, num_processes
        As in `BatchSampler`.

    Raises
    ------
    ValueError
        If the tables have no column video, or no video has a face and a voice.

    Example
    -------
    >>> faces = pd.DataFrame({"ID": ["f0", "f1"], "spk_id": "a", "video": ["x", "y"]})
    >>> voices = pd.DataFrame({"ID": ["v0", "v1"], "spk_id": "a", "video": ["y", "x"]})
    >>> sampler = VideoSampler(faces, voices, batch_size=2)
    >>> [sorted((face, voice) for face, voice, _ in batch) for batch in sampler]
    [[(0, 1), (1, 0)]]
    """

    def __init__(
        self, faces, voices, batch_size, steps_per_epoch=None, seed=0, rank=0, num_processes=1
    ):
        super().__init__(faces, voices, batch_size, steps_per_epoch, seed, rank, num_processes)
        for table, modality in ((self.faces, "faces"), (self.voices, "voices")):
            if "video" not in table.columns or not (table.video != "").any():
                raise ValueError(
                    f"VideoSampler: no row of the training {modality} names its video; fill the "
                    "column video in and prepare the corpus again, or choose another sampler"
                )
        keys = [
            pd.MultiIndex.from_frame(table[["spk_id", "video"]])
            for table in (self.faces, self.voices)
        ]
        videos = keys[0].unique().intersection(keys[1].unique()).sort_values()
        videos = videos[videos.get_level_values("video") != ""]
        if videos.empty:
            raise ValueError(
                "VideoSampler: no video of the training clips has a face and a voice; expected the "
                "same name in the column video of a face and of a voice of one identity"
            )
        self._groups = [Groups(videos.get_indexer(key), len(videos)) for key in keys]

    @property
    def num_covered(self):
        """One row per video that has a face and a voice."""
        return len(self._groups[0].counts)

    def draw(self, rng, num_rows):
        """Returns the pairs of an epoch; see `BatchSampler.draw`."""
        faces, voices = self._groups
        videos = distinct_rounds(len(faces.counts), num_rows, self.global_batch_size, rng)
        voice_rows = voices.one(videos, rng)
        return faces.one(videos, rng), voice_rows


class ClipSampler(BatchSampler):
    """Single clips: every row has a face and a voice that were drawn independently.

    Every face comes equally often, and every voice.

    Example
    -------
    >>> faces = pd.DataFrame({"ID": ["f0", "f1", "f2"], "spk_id": ["a", "b", "a"]})
    >>> voices = pd.DataFrame({"ID": ["v0", "v1"], "spk_id": ["b", "a"]})
    >>> (batch,) = ClipSampler(faces, voices, batch_size=6, steps_per_epoch=1)
    >>> sorted(face for face, _, _ in batch), sorted(voice for _, voice, _ in batch)
    ([0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1])
    """

    paired = False

    def draw(self, rng, num_rows):
        """Returns the clips of an epoch; see `BatchSampler.draw`."""
        face_rows = shuffled_rounds(len(self.faces), num_rows, rng)
        return face_rows, shuffled_rounds(len(self.voices), num_rows, rng)


def _identity_groups(faces, voices):
    """The faces and the voices of every identity, identities in order of their names."""
    codes, identities = pd.factorize(voices.spk_id, sort=True)
    face_codes = identities.get_indexer(faces.spk_id)
    faceless = np.bincount(face_codes[face_codes >= 0], minlength=len(identities)) == 0
    one_sided = [*identities[faceless], *faces.spk_id[face_codes < 0].unique()]
    if one_sided:
        raise ValueError(
            f"expected a face and a voice of every training identity, got one of them of "
            f"{named(one_sided)}; leave such identities out"
        )
    return Groups(face_codes, len(identities)), Groups(codes, len(identities))
