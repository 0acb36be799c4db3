"""Scores that an inner product of two vectors orders: cosine, inner product, distance."""

from typing import NamedTuple

import torch

from speechbrain_fv.scores.base import Score


def unit(vectors):
    """Returns vectors as float64 with rows of length 1.

    Arguments
    ---------
    vectors : torch.Tensor of shape (num_clips, dim)
        Finite, no row of zeros.

    Returns
    -------
    torch.Tensor of shape (num_clips, dim), float64

    Example
    -------
    >>> unit(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]], dtype=torch.float64)
    """
    return torch.nn.functional.normalize(vectors.double(), dim=1, eps=0.0)


class Fitted(NamedTuple):
    """A `VectorScore` made ready for a set of faces and voices.

    face, voice : functions of embeddings (num_clips, dim), which return float64 rows
        The inner products of both kinds of rows lie in [-1, 1] and order pairs as the score does.
    factor : float, above 0
        The score is `value(factor * inner product)`.
    """

    face: object
    voice: object
    factor: float


class VectorScore(Score):
    """A score that orders pairs as an inner product of two vectors does.

    A subclass states `face_vectors` and `voice_vectors`, and `value` where the score is not the
    inner product itself.
    """

    def face_vectors(self, face):
        """Returns vectors (num_clips, any) of face embeddings (num_clips, dim)."""
        raise NotImplementedError

    def voice_vectors(self, voice):
        """Returns vectors of the same width of voice embeddings (num_clips, dim)."""
        raise NotImplementedError

    def value(self, inner):
        """Returns the scores of inner products; never falls when those rise."""
        return inner

    def forward(self, face, voice):
        """Returns the scores (num_pairs,) of face and voice embeddings, row by row."""
        return self.value((self.face_vectors(face) * self.voice_vectors(voice)).sum(dim=1))

    def fitted(self, face, voice):
        """Returns the `Fitted` vectors of these embeddings, (num_clips, dim) each."""
        length = 1.0
        for vectors in (self.face_vectors(face.double()), self.voice_vectors(voice.double())):
            length *= float(vectors.norm(dim=1).max()) if len(vectors) else 1.0
        length = length or 1.0
        return Fitted(
            lambda faces: self.face_vectors(faces.double()) / length,
            lambda voices: self.voice_vectors(voices.double()),
            length,
        )

    @torch.no_grad()
    def table(self, face, voice):
        """Returns the scores (num_faces, num_voices) of all pairs; see `Score.table`."""
        fitted = self.fitted(face, voice)
        return self.value((fitted.face(face) @ fitted.voice(voice).T) * fitted.factor)


class Cosine(VectorScore):
    """The cosine of face and voice embedding, in [-1, 1]; the score unless a YAML names another.

    Example
    -------
    >>> Cosine()(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]]))
    tensor([0.6000], dtype=torch.float64)
    """

    symmetric = True

    def face_vectors(self, face):
        """Returns the embeddings at length 1."""
        return unit(face)

    voice_vectors = face_vectors

    def fitted(self, face, voice):
        """Returns the embeddings at length 1, whose inner products are the cosines themselves."""
        return Fitted(unit, unit, 1.0)


class InnerProduct(VectorScore):
    """The inner product of face and voice embedding.

    Example
    -------
    >>> InnerProduct()(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 1.0]]))
    tensor([7.], dtype=torch.float64)
    """

    symmetric = True

    def face_vectors(self, face):
        """Returns the embeddings."""
        return face.double()

    voice_vectors = face_vectors


class NegativeL2(VectorScore):
    """The negative Euclidean distance of face and voice embedding, at most 0.

    Pairs are ordered by [a, |a|^2, 1] . [2b, -1, -|b|^2] = -|a - b|^2.

    Arguments
    ---------
    normalize : bool
        Whether the embeddings are scaled to length 1 first.
    directions : sequence of str, optional
        See `Score`.

    Example
    -------
    >>> NegativeL2()(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 0.0]]))
    tensor([-5.], dtype=torch.float64)
    """

    symmetric = True

    def __init__(self, normalize=False, directions=None):
        super().__init__(directions)
        self.normalize = bool(normalize)

    def extra_repr(self):
        """Returns the options that are not the usual ones."""
        options = ["normalize=True"] * self.normalize + [super().extra_repr()]
        return ", ".join(filter(None, options))

    def face_vectors(self, face):
        """Returns [a, |a|^2, 1]."""
        return _face_vectors(self._points(face))

    def voice_vectors(self, voice):
        """Returns [2b, -1, -|b|^2]."""
        return _voice_vectors(self._points(voice))

    def value(self, inner):
        """Returns the negative distance of the negative squared one."""
        return -(-inner).clamp(min=0).sqrt()

    def forward(self, face, voice):
        """Returns the negative distances, row by row; near ones without cancellation."""
        return -(self._points(face) - self._points(voice)).norm(dim=1)

    def fitted(self, face, voice):
        """Returns the vectors of the embeddings about their common centre.

        A shift changes no distance. About their centre no square is larger than the distances call
        for, so that the inner products are as precise as those.
        """
        sides = self._points(face), self._points(voice)
        everyone = torch.cat(sides)
        centre = everyone.mean(dim=0) if len(everyone) else 0.0
        reach = [float((side - centre).norm(dim=1).max()) if len(side) else 0.0 for side in sides]
        largest = sum(reach) ** 2 or 1.0  # no squared distance is larger

        return Fitted(
            lambda faces: _face_vectors(self._points(faces) - centre) / largest,
            lambda voices: _voice_vectors(self._points(voices) - centre),
            largest,
        )

    def _points(self, embeddings):
        return unit(embeddings) if self.normalize else embeddings.double()


def _face_vectors(points):
    squares = points.square().sum(dim=1, keepdim=True)
    return torch.cat([points, squares, torch.ones_like(squares)], dim=1)


def _voice_vectors(points):
    squares = points.square().sum(dim=1, keepdim=True)
    return torch.cat([2 * points, -torch.ones_like(squares), -squares], dim=1)
