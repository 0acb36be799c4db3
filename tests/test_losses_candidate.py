import numpy as np
import pytest
import torch

from speechbrain_fv.losses import Batch, CandidateLoss
from speechbrain_fv.scores import Cosine, TripleClassifier, frozen
from tests.method_checks import (
    NUM_PEOPLE,
    WIDTH,
    coded_inputs,
    finite_step,
    special_batches,
    trained_heads,
)
from tests.references import candidate as reference

IDENTITY = [0, 1, 0, 2, 3, 1, 4, 0]


def classifier(direction="V-F", num_candidates=2, width=6, **options):
    torch.manual_seed(0)
    return TripleClassifier(width, num_candidates, direction, **options)


def layers_of(score):
    """The weights and biases of the linear layers as arrays."""
    linear = [layer for layer in score.network if isinstance(layer, torch.nn.Linear)]
    return [tuple(x.detach().double().numpy() for x in layer.parameters()) for layer in linear]


class Noted(TripleClassifier):
    """Notes what it is asked."""

    def forward(self, probe, candidates, direction):
        self.asked = probe, candidates
        return super().forward(probe, candidates, direction)


@pytest.mark.parametrize("num_candidates", [2, 3])
def test_the_classifier_equals_the_reference(num_candidates):
    score = classifier(num_candidates=num_candidates)
    probe, *candidates = torch.randn(num_candidates + 1, 5, 6)
    scores = score(probe, torch.stack(candidates, dim=1), "V-F").detach().numpy()
    for row in range(5):
        shown = [candidate[row].numpy() for candidate in candidates]
        expected = reference.classifier(layers_of(score), shown, probe[row].numpy())
        np.testing.assert_allclose(scores[row], expected, rtol=1e-4, atol=1e-6)


def test_its_layers_are_those_of_the_paper_scaled_to_k():
    shapes = [tuple(weight.shape) for weight, _ in layers_of(TripleClassifier(1024))]
    assert shapes == [(1024, 3 * 1024), (512, 1024), (2, 512)]


@pytest.mark.parametrize("num_candidates", [2, 3])
def test_over_every_order_a_rotation_of_the_candidates_rotates_the_scores(num_candidates):
    """And equal candidates have equal scores; neither holds of the paper's one order."""
    probe, candidates = torch.randn(4, 6), torch.randn(4, num_candidates, 6)
    same = candidates[:, :1].expand_as(candidates)
    for every_order in (True, False):
        score = classifier(num_candidates=num_candidates, every_order=every_order)
        there = score(probe, candidates, "V-F")
        back = score(probe, candidates.roll(1, dims=1), "V-F").roll(-1, dims=1)
        assert torch.allclose(there, back, atol=1e-5) is every_order
        scores = score(probe, same, "V-F")
        assert torch.allclose(scores, scores[:, :1].expand_as(scores), atol=1e-5) is every_order


def test_it_ranks_its_number_of_candidates_in_its_direction_and_nothing_else():
    score = frozen(classifier())
    assert "gives one pair no score" in score.unable("verification")
    assert "not a whole gallery" in score.unable("retrieval")
    assert "no other number" in score.unable("matching", "V-F", 3)
    assert "direction V-F only" in score.unable("matching", "F-V", 2)
    assert score.unable("matching", "V-F", 2) is None
    assert score.rank(torch.ones(3, 6), torch.ones(3, 2, 6), "V-F").dtype == torch.float64


@pytest.mark.parametrize("direction", ["V-F", "F-V"])
@pytest.mark.parametrize("num_candidates", [2, 4])
def test_the_loss_equals_the_reference_on_the_trials_that_it_makes(direction, num_candidates):
    torch.manual_seed(1)
    score = Noted(6, num_candidates, direction)
    face, voice = torch.randn(2, 8, 6)
    identity = {"identity": torch.tensor(IDENTITY)}
    generator = torch.Generator().manual_seed(3)
    terms, monitors = CandidateLoss(score)(
        Batch(face, voice, identity, identity, generator=generator)
    )
    probe, candidates = score.asked
    own, other = (voice, face) if direction == "V-F" else (face, voice)
    assert torch.equal(probe, own)
    losses, hits, places = [], [], set()
    for row in range(8):
        shown = [int((other == candidate).all(dim=1).nonzero()) for candidate in candidates[row]]
        place = shown.index(row)
        assert all(IDENTITY[j] != IDENTITY[row] for n, j in enumerate(shown) if n != place)
        arrays = [candidate.numpy() for candidate in candidates[row]]
        layers, probed = layers_of(score), probe[row].numpy()
        losses.append(reference.cross_entropy(layers, arrays, probed, place))
        hits.append(np.argmax(reference.classifier(layers, arrays, probed)) == place)
        places.add(place)
    assert len(places) > 1
    assert terms["L_match"].item() == pytest.approx(np.mean(losses), rel=1e-4)
    assert monitors["match_accuracy"].item() == pytest.approx(np.mean(hits))


def test_the_place_of_the_positive_and_the_negatives_are_drawn_evenly():
    loss = CandidateLoss(classifier(width=4))
    generator = torch.Generator().manual_seed(0)
    allowed = ~torch.eye(4, dtype=torch.bool)
    drawn = [loss._candidates(torch.eye(4), allowed, generator) for _ in range(2000)]
    place = torch.stack([place for _, place in drawn]).float()
    assert (place.mean(dim=0) - 0.5).abs().max() < 0.05  # a deviation of 0.011
    shown = torch.stack([candidates.sum(dim=1) for candidates, _ in drawn]).mean(dim=0)
    assert torch.equal(shown.diagonal(), torch.ones(4))
    assert (shown[allowed] - 1 / 3).abs().max() < 0.05


@pytest.mark.parametrize("name", special_batches())
def test_special_batches_have_finite_gradients(name):
    terms, _ = finite_step(CandidateLoss(classifier(width=4)), *special_batches()[name])
    if name.startswith("one identity") or name == "a single row":
        assert terms["L_match"] == 0


def accuracy(direction, shuffled):
    """The 1:2 accuracy on new noise draws after 600 steps on coded inputs.

    A classifier of two candidates learns slower than a distance: 200 steps give 0.84.
    """
    score = classifier(direction, width=WIDTH)
    heads, generator = trained_heads(
        CandidateLoss(score), shuffled=shuffled, num_steps=600, lr=0.005
    )
    people = torch.arange(NUM_PEOPLE).repeat(20)
    other = (people + torch.randint(1, NUM_PEOPLE, people.shape, generator=generator)) % NUM_PEOPLE
    to_probe, to_candidate = heads if direction == "F-V" else heads[::-1]
    with torch.no_grad():
        probe = to_probe(coded_inputs(people, generator))
        shown = [to_candidate(coded_inputs(p, generator)) for p in (people, other)]
        first = score(probe, torch.stack(shown, dim=1), direction).argmax(dim=1) == 0
        second = score(probe, torch.stack(shown[::-1], dim=1), direction).argmax(dim=1) == 1
    return torch.cat([first, second]).float().mean().item()


@pytest.mark.parametrize("direction", ["V-F", "F-V"])
def test_it_learns_from_coded_inputs_and_not_from_shuffled_voices(direction):
    found = accuracy(direction, shuffled=False)
    assert found > 0.88, found
    assert 0.4 < accuracy(direction, shuffled=True) < 0.6


@pytest.mark.parametrize("score", [Cosine(directions="V-F"), TripleClassifier(4)])
def test_a_score_that_ranks_no_candidates_in_one_direction_is_refused(score):
    with pytest.raises(ValueError, match="score: expected one that ranks candidates in one"):
        CandidateLoss(score)
