"""Exact search: every vector is compared, in chunks that bound the memory.

By torch, not by faiss's IndexFlatIP: on the same cores it answers one query in half the time and
a batch of 100 in a tenth (`recipes/benchmark.py search` measures both), and needs no extra.
"""

import numpy as np
import torch

CHUNK = 16384  # vectors compared at once


class ExactIndex:
    """Unit vectors, one below the other, all of them compared with each query.

    Arguments
    ---------
    vectors : array of shape (N, dim), float32
        Of norm 1; may be memory-mapped.
    """

    kind = "exact"

    def __init__(self, vectors):
        self._vectors, self._count = vectors, len(vectors)

    def __len__(self):
        return self._count

    @property
    def vectors(self):
        """Array of shape (N, dim)."""
        return self._vectors[: self._count]

    def add(self, vectors):
        """Adds rows at the end; the reserved room grows by half, so many small adds stay cheap."""
        total = self._count + len(vectors)
        if total > len(self._vectors) or isinstance(self._vectors, np.memmap):
            room = max(total, self._count + self._count // 2 if self._count else total)
            grown = np.empty((room, vectors.shape[1]), np.float32)
            grown[: self._count] = self.vectors
            self._vectors = grown
        self._vectors[self._count : total] = vectors
        self._count = total

    def take(self, rows):
        """Returns the vectors of some rows."""
        return self.vectors[rows]

    def kept(self, mask):
        """Returns the index of the rows where a mask holds."""
        return ExactIndex(self.vectors[mask])

    def search(self, queries, k, alive=None):
        """Returns the rows of the k most similar vectors of each query, in any order.

        Arguments
        ---------
        queries : array of shape (B, dim), float32
        k : int
            At most the number of rows to search.
        alive : array of shape (N,), bool, optional
            Which rows are searched; all by default.

        Returns
        -------
        rows : array of shape (B, k), int64
        """
        with torch.device("cpu"), torch.autocast("cpu", enabled=False):  # whatever the caller's
            return self._search(torch.from_numpy(queries), k, alive)

    def _search(self, queries, k, alive):
        best = torch.empty(len(queries), 0, dtype=torch.float32)
        rows = torch.empty(len(queries), 0, dtype=torch.int64)
        for start in range(0, len(self), CHUNK):
            chunk = torch.from_numpy(self.vectors[start : start + CHUNK])
            scores = queries @ chunk.T
            if alive is not None:
                mask = torch.from_numpy(alive[start : start + CHUNK])
                scores.masked_fill_(~mask, -torch.inf)
            scores, places = scores.topk(min(k, len(chunk)), dim=1, sorted=False)
            best, rows = torch.cat([best, scores], 1), torch.cat([rows, places + start], 1)
            if best.shape[1] > 2 * k:
                best, places = best.topk(k, dim=1, sorted=False)
                rows = rows.gather(1, places)
        return rows.gather(1, best.topk(k, dim=1, sorted=False).indices).numpy()
