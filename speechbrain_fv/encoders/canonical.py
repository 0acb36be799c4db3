"""Ridge CCA: the coordinates in which precomputed face and voice vectors of one person agree.

Canonical correlation analysis (Hotelling, 1936), regularised as in ridge regression (Vinod, 1976).
It has a closed form: by itself it is the baseline that a trained head has to beat, and it is a
front end of trained heads.
"""

from typing import NamedTuple

import numpy as np
import torch

from speechbrain_fv.distributed import Dropout
from speechbrain_fv.encoders.common import fix_bias, person_shares


class Canonical(NamedTuple):
    """The result of `ridge_cca`; arrays of float64.

    face_mean, voice_mean : shape (D_face,), (D_voice,)
    face, voice : shape (D_face, k), (D_voice, k)
        Directions; centred vectors times them are coordinates of variance about 1.
    correlations : shape (k,), falling, in [0, 1)
    """

    face_mean: np.ndarray
    voice_mean: np.ndarray
    face: np.ndarray
    voice: np.ndarray
    correlations: np.ndarray


def ridge_cca(face, face_identity, voice, voice_identity, num_coordinates, ridge):
    """Returns the `Canonical` coordinates of the faces and voices of the same people.

    Variances are those of all clips, covariances those of the means of each person, and every
    person weighs the same in both: with one pair each, this is CCA of the pairs.

    Arguments
    ---------
    face : array of shape (num_faces, D_face)
    face_identity : sequence of num_faces str
    voice : array of shape (num_voices, D_voice)
    voice_identity : sequence of num_voices str
    num_coordinates : int
        k, at most the smaller width.
    ridge : float
        Added to each variance, as a multiple of the mean variance; above 0.

    Raises
    ------
    ValueError
        If k is out of range, the ridge not positive, or fewer than two people have both.

    Example
    -------
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> names = [f"p{row}" for row in range(50)]
    >>> ridge_cca(x, names, -x, names, num_coordinates=2, ridge=1e-9).correlations.round(3)
    array([1., 1.])
    """
    face, voice = np.asarray(face, np.float64), np.asarray(voice, np.float64)
    most = min(face.shape[1], voice.shape[1])
    if not 1 <= num_coordinates <= most:
        raise ValueError(f"num_coordinates: expected 1 to {most}, got {num_coordinates}")
    if not ridge > 0:
        raise ValueError(f"ridge: expected a number above 0, got {ridge}")
    people = sorted(set(face_identity) & set(voice_identity))
    if len(people) < 2:
        raise ValueError(
            f"ridge CCA: expected at least 2 identities with a face and a voice, got {len(people)}"
        )
    sides = []
    for vectors, identity in ((face, face_identity), (voice, voice_identity)):
        shares = person_shares(identity)
        mean = shares @ vectors
        centred = vectors - mean
        white = _whitening(np.sqrt(shares)[:, None] * centred, ridge)
        sides.append((mean, white, _means(centred, identity, people)))
    (face_mean, face_white, faces), (voice_mean, voice_white, voices) = sides
    # Of the cross-covariance, whose rank is at most the number of people, in their span alone.
    spans = []
    for white, means in ((face_white, faces), (voice_white, voices)):
        columns = white(means.T)  # (D, num_people)
        in_span = len(people) >= num_coordinates
        spans.append(np.linalg.qr(columns) if in_span else (np.eye(len(columns)), columns))
    (face_span, face_inner), (voice_span, voice_inner) = spans
    shared = face_inner @ voice_inner.T / len(people)
    left, correlations, right = np.linalg.svd(shared, full_matrices=False)
    return Canonical(
        face_mean,
        voice_mean,
        face_white(face_span @ left[:, :num_coordinates]),
        voice_white(voice_span @ right[:num_coordinates].T),
        correlations[:num_coordinates],
    )


def _whitening(rows, ridge):
    """Returns the function that multiplies by the inverse root of a ridge covariance, (D, D).

    The covariance is the sum of the outer products of the rows, of shape (N, D).
    """
    num_clips, width = rows.shape
    variance = np.square(rows).sum() / width
    if num_clips < width:
        _, singular, directions = np.linalg.svd(rows, full_matrices=False)
        values, directions = np.square(singular), directions.T
    else:
        values, directions = np.linalg.eigh(rows.T @ rows)
    rest = 1 / np.sqrt(ridge * variance) if num_clips < width else 0.0
    factors = 1 / np.sqrt(values + ridge * variance) - rest
    return lambda columns: (
        directions @ (factors[:, None] * (directions.T @ columns)) + (rest * columns)
    )


def _means(vectors, identity, people):
    """Returns the mean vector of each of the people, shape (num_people, D)."""
    number = {name: row for row, name in enumerate(people)}
    rows = np.array([number.get(name, -1) for name in identity])
    sums = np.zeros((len(people), vectors.shape[1]))
    np.add.at(sums, rows[rows >= 0], vectors[rows >= 0])
    return sums / np.bincount(rows[rows >= 0], minlength=len(people))[:, None]


class CanonicalNetwork(torch.nn.Module):
    """A network on precomputed vectors that begins with their canonical coordinates.

    Vectors are scaled to unit length, centred, and projected to k coordinates, which `fit_pair`
    takes from the training clips of both modalities. With `hidden_dim` 0 these are the output:
    ridge CCA. Else two layers follow, as in `VectorNetwork`.

    Arguments
    ---------
    input_dim : int
        D, the width of the vectors.
    num_coordinates : int
        k. Beyond the narrower of the two modalities' vectors there is none: those are 0.
    hidden_dim : int
        Width of the hidden layer; 0 for none.
    output_dim : int
        Width of the output where there is a hidden layer.
    dropout : float
        Share of hidden units that is dropped in training, in [0, 1).
    ridge : float
        See `ridge_cca`.
    correlation_power : float
        Every coordinate is multiplied by its correlation to this power: 0 treats them alike, 0.5
        lets the cosine of a face and a voice weigh each by its correlation. From 1 on the late
        coordinates, whose correlation is chance, weigh so little that k hardly matters.
    num_kept : int
        How many of the coordinates the output has behind that of the layers, for a block such as
        `SideBySide`; 0 to k.

    Example
    -------
    >>> network = CanonicalNetwork(input_dim=4, num_coordinates=2, output_dim=8)
    >>> network(torch.randn(3, 4)).shape
    torch.Size([3, 8])
    """

    def __init__(
        self,
        input_dim,
        num_coordinates=40,
        hidden_dim=512,
        output_dim=256,
        dropout=0.5,
        ridge=10.0,
        correlation_power=1.0,
        num_kept=0,
    ):
        super().__init__()
        if num_coordinates < 1:
            raise ValueError(f"num_coordinates: expected at least 1, got {num_coordinates}")
        self.input_dim, self.num_coordinates = input_dim, num_coordinates
        self.ridge, self.correlation_power = ridge, correlation_power
        self.register_buffer("mean", torch.zeros(input_dim))
        self.register_buffer("directions", torch.eye(input_dim, num_coordinates))
        if not 0 <= num_kept <= (num_coordinates if hidden_dim else 0):
            raise ValueError(
                f"num_kept: expected 0 to num_coordinates = {num_coordinates}, and 0 where "
                f"hidden_dim is 0, got {num_kept}"
            )
        self.num_kept = num_kept
        self.num_features = output_dim + num_kept if hidden_dim else num_coordinates
        self.layers = torch.nn.Sequential()
        if hidden_dim:
            self.layers.extend(
                [
                    torch.nn.Linear(num_coordinates, hidden_dim),
                    torch.nn.BatchNorm1d(hidden_dim),
                    torch.nn.ReLU(),
                    Dropout(dropout),
                    torch.nn.Linear(hidden_dim, output_dim),
                ]
            )
            fix_bias(self.layers[0])
            if not num_kept:
                self.last_layer = self.layers[-1]

    def fit_pair(self, other, face, face_identity, voice, voice_identity):
        """Takes the coordinates of both modalities' networks from the training vectors.

        Arguments
        ---------
        other : CanonicalNetwork
            The voice's network; this one is the face's.
        face : torch.Tensor, shape (num_faces, D_face)
        face_identity : sequence of num_faces str
        voice : torch.Tensor, shape (num_voices, D_voice)
        voice_identity : sequence of num_voices str

        Raises
        ------
        ValueError
            If the two networks differ in k or ridge, or vectors have another width.
        """
        mine, theirs = ((n.num_coordinates, n.ridge, n.correlation_power) for n in (self, other))
        if mine != theirs:
            raise ValueError(
                "canonical coordinates: expected equal num_coordinates, ridge and "
                f"correlation_power for face and voice, got {mine} and {theirs}"
            )
        face, voice = self._unit(face).double(), other._unit(voice).double()
        found = ridge_cca(
            face.numpy(),
            face_identity,
            voice.numpy(),
            voice_identity,
            min(self.num_coordinates, self.input_dim, other.input_dim),
            self.ridge,
        )
        weights = found.correlations**self.correlation_power
        self._set(found.face_mean, found.face * weights)
        other._set(found.voice_mean, found.voice * weights)

    def _set(self, mean, directions):
        self.mean.copy_(torch.as_tensor(mean))
        self.directions.zero_()
        self.directions[:, : directions.shape[1]] = torch.as_tensor(directions)

    def _unit(self, vectors):
        if vectors.shape[-1] != self.input_dim:
            raise ValueError(
                f"precomputed vectors: expected width {self.input_dim}, got {vectors.shape[-1]}; "
                "set input_dim in the face or voice include"
            )
        return torch.nn.functional.normalize(vectors, dim=1)

    def forward(self, vectors, wav_lens=None):
        """Returns features, shape (B, num_features), of vectors, shape (B, D)."""
        coordinates = (self._unit(vectors) - self.mean) @ self.directions
        features = self.layers(coordinates)
        return torch.cat([features, coordinates[:, : self.num_kept]], dim=1)
