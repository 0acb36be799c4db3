"""What all scores have: what they can do, and how pairs and tables of pairs are scored."""

import torch

from speechbrain_fv.messages import in_one_line

TASKS = ("verification", "matching", "retrieval")
DIRECTIONS = ("F-V", "V-F")
"""A face looks for its voice, a voice for its face."""

_VALUES_AT_ONCE = 2**22
"""Of the embeddings that a network of pairs or candidates gets in one call."""


def _pairs_at_once(dim):
    return max(1, _VALUES_AT_ONCE // (2 * max(dim, 1)))


class Score(torch.nn.Module):
    """What all scores have.

    Arguments
    ---------
    directions : sequence of str, optional
        Which of `DIRECTIONS` the score was made for; both by default, or those that a subclass
        states as its attribute. In another one matching and retrieval are undefined.

    Attributes
    ----------
    symmetric : bool
        Whether the score stays the same when face and voice change places.
    """

    directions = DIRECTIONS
    symmetric = False

    def __init__(self, directions=None):
        super().__init__()
        directions = self.directions if directions is None else directions
        chosen = [directions] if isinstance(directions, str) else list(directions)
        if not chosen or set(chosen) - set(DIRECTIONS):
            raise ValueError(f"directions: expected some of {DIRECTIONS}, got {directions!r}")
        self.directions = tuple(name for name in DIRECTIONS if name in chosen)

    @property
    def takes_both_alike(self):
        """Whether it does not matter to the score which of two embeddings is the face."""
        return self.symmetric and self.directions == DIRECTIONS

    @property
    def name(self):
        """The name of the class, with the options that are not the usual ones."""
        options = self.extra_repr()
        return f"{type(self).__name__}({options})" if options else type(self).__name__

    def extra_repr(self):
        """Returns the options that are not the usual ones, as `name` shows them."""
        return "" if self.directions == DIRECTIONS else f"directions={list(self.directions)}"

    def unable(self, task, direction=None, num_candidates=None):
        """Returns why the score cannot do a task, or None where it can.

        Arguments
        ---------
        task : str
            One of `TASKS`.
        direction : str, optional
            One of `DIRECTIONS`; None asks about the task in any direction.
        num_candidates : int, optional
            N of 1:N matching; None asks about matching with any N.

        Example
        -------
        >>> from speechbrain_fv.scores import Cosine
        >>> Cosine(directions=["V-F"]).unable("retrieval", "F-V")
        "Cosine(directions=['V-F']) compares in the direction V-F only"
        """
        if task != "verification" and direction and direction not in self.directions:
            return f"{self.name} compares in the direction {self.directions[0]} only"
        return None

    @torch.no_grad()
    def pairs(self, face, voice):
        """Returns the scores of pairs, row by row, of a `frozen` score.

        Arguments
        ---------
        face, voice : torch.Tensor of shape (num_pairs, dim)

        Returns
        -------
        torch.Tensor of shape (num_pairs,), float64

        Raises
        ------
        ValueError
            If the score cannot compare pairs, or its class returns something else.
        """
        reason = self.unable("verification")
        if reason:
            raise ValueError(reason)
        step = _pairs_at_once(face.shape[1])
        parts = [
            self._called((len(part),), part.double(), other.double())
            for part, other in zip(face.split(step), voice.split(step), strict=True)
        ]
        return torch.cat(parts) if parts else face.new_empty(0, dtype=torch.float64)

    @torch.no_grad()
    def table(self, face, voice):
        """Returns the scores of all pairs of a `frozen` score.

        Arguments
        ---------
        face : torch.Tensor of shape (num_faces, dim)
        voice : torch.Tensor of shape (num_voices, dim)

        Returns
        -------
        torch.Tensor of shape (num_faces, num_voices), float64

        Raises
        ------
        ValueError
            As `pairs`.
        """
        result = torch.empty(len(face), len(voice), dtype=torch.float64, device=face.device)
        flat = result.view(-1)
        step = _pairs_at_once(face.shape[1])
        for start in range(0, len(flat), step):
            place = torch.arange(start, min(start + step, len(flat)), device=face.device)
            row, column = place // len(voice), place % len(voice)
            flat[start : start + step] = self.pairs(face[row], voice[column])
        return result

    def _called(self, shape, *arguments):
        """Returns what `forward` gives, as float64; ValueError unless it is finite scores."""
        try:
            scores = self(*arguments)
        except (RuntimeError, NotImplementedError) as error:
            reason = in_one_line(error) if str(error) else "its class has no forward"
            raise ValueError(
                f"{self.name} cannot compare embeddings of shape {tuple(arguments[0].shape)} in "
                f"float64: {reason}"
            ) from error
        if not isinstance(scores, torch.Tensor) or tuple(scores.shape) != shape:
            got = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
            raise ValueError(f"{self.name}: expected scores of shape {shape}, got {got}")
        if not torch.isfinite(scores).all():
            raise ValueError(f"{self.name}: expected finite scores, got NaN or infinity")
        return scores.double()
