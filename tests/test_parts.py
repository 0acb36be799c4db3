"""Models side by side in one embedding: their losses, their blocks, and the score they share."""

import pytest
import torch
from torch.nn.functional import normalize

from speechbrain_fv.cmwr import CMWR
from speechbrain_fv.encoders import CanonicalNetwork, SideBySide
from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.losses import (
    Batch,
    BidirectionalRankingLoss,
    IdentityLoss,
    InfoNCELoss,
    OnPart,
    PredictedAgreement,
    PrototypeDiscriminator,
    PseudoLabelLoss,
    TrainingSet,
)
from speechbrain_fv.pseudo_labels import PseudoLabeler


def batch_of(face, voice):
    label = {"identity": torch.arange(len(face))}
    return Batch(face, voice, label, label, generator=torch.Generator().manual_seed(3))


def pseudo_labels():
    torch.manual_seed(0)
    return PseudoLabelLoss(
        PseudoLabeler((2, 4), embedding_dim=6), PrototypeDiscriminator(), PredictedAgreement()
    )


@pytest.mark.parametrize("make", [pseudo_labels, InfoNCELoss])
def test_a_loss_on_a_part_is_that_loss_of_its_columns_and_moves_no_other(make):
    face, voice = torch.randn(2, 8, 10, generator=torch.Generator().manual_seed(1))
    face.requires_grad_()
    terms, monitors = OnPart(make(), start=3, width=6)(batch_of(face, voice))
    alone, told = make()(batch_of(face[:, 3:9], voice[:, 3:9]))
    assert terms == alone and monitors == told
    sum(terms.values()).backward()
    moved = face.grad.abs().sum(dim=0) > 0
    assert moved.tolist() == [3 <= column < 9 for column in range(10)]


def test_what_a_loss_is_told_reaches_it_with_its_columns():
    identity = OnPart(IdentityLoss(embedding_dim=2), start=1, width=2)
    identity.build(TrainingSet({"identity": 4}))
    assert identity.needs.face == IdentityLoss(embedding_dim=2).needs.face
    terms, _ = identity(batch_of(torch.randn(4, 5), torch.randn(4, 5)))
    assert torch.isfinite(terms["L_id"])
    with pytest.raises(ValueError, match="q = 4 is larger"):
        OnPart(pseudo_labels(), 0, 6).check_batch_size(3)
    names = [f"p{row}" for row in range(8)]
    vectors = torch.randn(2, 8, 9, generator=torch.Generator().manual_seed(2)).numpy()
    whole, part = (Embeddings(*each, names, names) for each in (vectors, vectors[:, :, 3:]))
    values = OnPart(pseudo_labels(), 3, 6).validate(whole, 8, 0)
    assert values and values == pseudo_labels().validate(part, 8, 0)


def test_parts_outside_of_the_embeddings_are_refused():
    with pytest.raises(ValueError, match="columns 3 to 9 of the embeddings, which are 8 wide"):
        OnPart(InfoNCELoss(), 3, 6)(batch_of(torch.randn(4, 8), torch.randn(4, 8)))
    for start, width in ((-1, 2), (0, 0)):
        with pytest.raises(ValueError, match="part: expected a start"):
            OnPart(BidirectionalRankingLoss(), start, width)
    with pytest.raises(ValueError, match="at least 9, the widths of the parts, got 8"):
        SideBySide([torch.nn.Identity()] * 2, widths=[4, 5])(torch.randn(2, 8))
    for widths in ([4], [4, 0], [1, 2, 3]):
        with pytest.raises(ValueError, match="widths: expected one of at least 1 for each of 2"):
            SideBySide([torch.nn.Identity()] * 2, widths)


def test_the_cosine_of_the_whole_is_the_mean_of_the_cosines_of_its_parts():
    torch.manual_seed(0)
    first, second = CMWR(4, dropout=0.0), torch.nn.Tanh()
    block = SideBySide([first, second], widths=[4, 3])
    x = torch.randn(2, 5, 9)
    trained = torch.cat([first(x[..., :4]), second(x[..., 4:7]), x[..., 7:]], dim=-1)
    assert torch.equal(block(x), trained)
    face, voice = block.eval()(x)
    cosine = (normalize(face, dim=1) * normalize(voice, dim=1)).sum(dim=1)
    parts = [first(x[..., :4]), second(x[..., 4:7]), x[..., 7:]]
    alone = [torch.cosine_similarity(*part, dim=1) for part in parts]
    assert torch.allclose(cosine, sum(alone) / 3, atol=1e-6)


def test_coordinates_that_are_kept_stand_behind_the_output():
    torch.manual_seed(0)
    network = CanonicalNetwork(6, num_coordinates=3, output_dim=4, num_kept=2).eval()
    vectors = torch.randn(5, 6)
    output = network(vectors)
    assert output.shape == (5, network.num_features) == (5, 6)
    assert torch.equal(output[:, 4:], normalize(vectors, dim=1)[:, :2])
    for options in ({"num_kept": 4}, {"num_kept": -1}, {"num_kept": 1, "hidden_dim": 0}):
        with pytest.raises(ValueError, match="num_kept: expected 0 to"):
            CanonicalNetwork(6, num_coordinates=3, **options)
