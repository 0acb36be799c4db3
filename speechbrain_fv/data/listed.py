"""A sampler that honours the pairs of a published train list."""

import numpy as np

from speechbrain_fv.data.draws import shuffled_rounds
from speechbrain_fv.data.samplers import BatchSampler
from speechbrain_fv.data.schema import check_columns, named
from speechbrain_fv.files import read_table


class ListedSampler(BatchSampler):
    """The pairs of a list, every one equally often, in an order that is drawn each epoch.

    Arguments
    ---------
    faces, voices, batch_size, steps_per_epoch, seed, rank, num_processes
        As in `BatchSampler`; by default an epoch covers every pair once.
    pairs : path
        CSV with the columns face and voice, IDs of the clips: the `pairs_train.csv` that
        `corpora.mavceleb` leaves beside the manifests of a corpus with train lists. Pairs of
        clips that are not among the training clips are left out.

    Raises
    ------
    ValueError
        If the file is absent, or none of its pairs is of training clips.
    """

    def __init__(
        self,
        faces,
        voices,
        batch_size,
        pairs,
        steps_per_epoch=None,
        seed=0,
        rank=0,
        num_processes=1,
    ):
        super().__init__(faces, voices, batch_size, steps_per_epoch, seed, rank, num_processes)
        table = check_columns(read_table(pairs), ["face", "voice"], pairs)
        rows = [
            dict(zip(frame.ID, range(len(frame)), strict=True))
            for frame in (self.faces, self.voices)
        ]
        found = [
            table[column].map(row).fillna(-1).to_numpy(np.int64)
            for column, row in zip(("face", "voice"), rows, strict=True)
        ]
        kept = (found[0] >= 0) & (found[1] >= 0)
        if not kept.any():
            raise ValueError(
                f"{pairs}: expected pairs of training clips, got none of {len(table)}, the first "
                f"{named(table.head(1).to_numpy().ravel())}; the training has "
                f"{named(self.voices.ID)}"
            )
        self._pairs = found[0][kept], found[1][kept]

    @property
    def num_covered(self):
        """One row per pair."""
        return len(self._pairs[0])

    def draw(self, rng, num_rows):
        """Returns the pairs of an epoch; see `BatchSampler.draw`."""
        order = shuffled_rounds(self.num_covered, num_rows, rng)
        return tuple(rows[order] for rows in self._pairs)
