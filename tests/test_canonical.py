"""Canonical coordinates: ridge CCA against another way to solve it, and the network on them."""

import numpy as np
import pytest
import scipy.linalg
import torch

from speechbrain_fv.encoders import CanonicalNetwork, VectorNetwork
from speechbrain_fv.encoders.canonical import ridge_cca


def pairs(num_people=80, face_dim=6, voice_dim=4, clips=2, seed=0):
    """Faces and voices of people who share a latent of two numbers, with their names."""
    rng = np.random.default_rng(seed)
    latent = np.repeat(rng.normal(size=(num_people, 2)), clips, axis=0)
    names = [f"p{row // clips}" for row in range(num_people * clips)]

    def view(dim):
        return latent @ rng.normal(size=(2, dim)) + 0.3 * rng.normal(size=(len(latent), dim))

    return view(face_dim), view(voice_dim), names


def test_correlations_are_those_of_the_generalised_eigenproblem():
    face, voice, names = pairs()
    found = ridge_cca(face, names, voice, names, num_coordinates=4, ridge=0.7)
    x, y = face - face.mean(0), voice - voice.mean(0)
    blocks = []
    for side in (x, y):
        covariance = side.T @ side / len(side)
        blocks.append(
            covariance + 0.7 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        )
    people = sorted(set(names))
    means = [
        np.stack([side[np.array(names) == name].mean(0) for name in people]) for side in (x, y)
    ]
    cross = means[0].T @ means[1] / len(people)
    left = np.block([[np.zeros((6, 6)), cross], [cross.T, np.zeros((4, 4))]])
    values = scipy.linalg.eigvalsh(left, scipy.linalg.block_diag(*blocks))
    assert np.allclose(found.correlations, values[::-1][:4], atol=1e-10)
    assert found.correlations[1] > 0.5 and found.correlations[2] < 0.3


def test_a_person_weighs_the_same_with_many_clips_as_with_few():
    """The clips of some people three times over change neither coordinates nor weighting."""
    face, voice, names = pairs()
    rows = [row for row, name in enumerate(names) for _ in range(3 if name < "p4" else 1)]
    often = [names[row] for row in rows]
    once = ridge_cca(face, names, voice, names, num_coordinates=2, ridge=0.5)
    found = ridge_cca(face[rows], often, voice[rows], often, num_coordinates=2, ridge=0.5)
    assert len(rows) > len(names) + 40
    for value, expected in zip(found, once, strict=True):
        assert np.allclose(np.abs(value), np.abs(expected), atol=1e-10)  # signs are arbitrary
    networks = VectorNetwork(6), VectorNetwork(6)
    networks[0].fit(torch.tensor(face), names)
    networks[1].fit(torch.tensor(face[rows]), often)
    torch.testing.assert_close(networks[1].mean, networks[0].mean)
    torch.testing.assert_close(networks[1].weighting, networks[0].weighting)


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_late_coordinates_weigh_by_their_correlation(power):
    face, voice, names = (
        torch.tensor(each) if not isinstance(each, list) else each for each in pairs()
    )
    unit = torch.nn.functional.normalize(face, dim=1), torch.nn.functional.normalize(voice, dim=1)
    networks = [
        CanonicalNetwork(dim, num_coordinates=3, hidden_dim=0, correlation_power=power)
        for dim in (6, 4)
    ]
    networks[0].fit_pair(networks[1], face.float(), names, voice.float(), names)
    found = ridge_cca(
        *(each.numpy() for each in (unit[0],)), names, unit[1].numpy(), names, 3, 10.0
    )
    expected = (unit[0].numpy() - found.face_mean) @ found.face * found.correlations**power
    assert np.allclose(networks[0](face.float()).numpy(), expected, atol=1e-4)


def test_more_coordinates_than_the_narrower_side_has_are_zero():
    face, voice, names = pairs()
    networks = [CanonicalNetwork(dim, num_coordinates=5, hidden_dim=0) for dim in (6, 4)]
    tensors = [torch.tensor(each, dtype=torch.float32) for each in (face, voice)]
    networks[0].fit_pair(networks[1], tensors[0], names, tensors[1], names)
    for network, vectors in zip(networks, tensors, strict=True):
        coordinates = network(vectors)
        assert coordinates.shape == (160, 5) and not coordinates[:, 4].any()
        assert coordinates[:, 3].any()


def test_what_cannot_be_fitted_is_told():
    with pytest.raises(ValueError, match="num_coordinates: expected at least 1, got 0"):
        CanonicalNetwork(4, num_coordinates=0)
    face, voice, names = pairs()
    first, second = CanonicalNetwork(6, num_coordinates=2), CanonicalNetwork(4, num_coordinates=3)
    with pytest.raises(ValueError, match="expected equal num_coordinates"):
        first.fit_pair(second, torch.tensor(face), names, torch.tensor(voice), names)
    with pytest.raises(ValueError, match="expected at least 2 identities"):
        ridge_cca(face, names, voice, ["x"] * len(names), 2, 1.0)
    with pytest.raises(ValueError, match="expected width 6, got 4"):
        first(torch.tensor(voice, dtype=torch.float32))
