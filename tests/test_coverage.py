"""How often intervals hold what they are about, on people drawn anew again and again."""

import numpy as np
import pytest
from scipy.stats import norm

from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.exact import evaluate
from speechbrain_fv.evaluation.report import value_at
from speechbrain_fv.metrics import interval

VALUES = {
    "AUC U": "verification/U/auc",
    "EER U": "verification/U/eer",
    "1:2 F-V U": "matching/F-V/U/2/accuracy",
    "1:10 F-V U": "matching/F-V/U/10/accuracy",
    "mAP F-V": "retrieval/F-V/map",
}
KINDS = ("percentiles", "about the value", "bias-corrected")


def drawn(seed, num_people):
    """Returns the report on people with two clips each, as far from them as they from the mean."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(num_people), 2)
    people = rng.normal(size=(num_people, 8))[who]
    face, voice = (people + rng.normal(size=people.shape) for _ in range(2))
    return evaluate(Embeddings(face, voice, who, who), num_replicates=400)


def ends(replicates, value):
    """Returns the ends of each of `KINDS`; Efron's bias-corrected interval has Phi(2 z0 + z)."""
    below = ((replicates < value).mean() + (replicates <= value).mean()) / 2
    z0 = norm.ppf(np.clip(below, 1 / 800, 1 - 1 / 800))
    shifted = [norm.cdf(shift * z0 + norm.ppf([0.025, 0.975])) for shift in (0, 2)]
    plain, corrected = (np.quantile(replicates, shares) for shares in shifted)
    return plain, interval(replicates, value), corrected


@pytest.mark.slow
@pytest.mark.parametrize("num_people", [14, 30])
def test_intervals_hold_the_expected_value_as_often_as_they_say(num_people):
    reports = [drawn(seed, num_people) for seed in range(400)]
    print(f"\n{num_people} people  " + "".join(f"{kind:>17}" for kind in KINDS))
    for name, path in VALUES.items():
        values = np.array([value_at(report, path) for report in reports])
        found = [
            ends(report.replicates[path], value)
            for report, value in zip(reports, values, strict=True)
        ]
        low, high = np.moveaxis(np.array(found), 2, 0)
        held = ((low <= values.mean()) & (values.mean() <= high)).mean(axis=0)
        print(f"{name:<11}" + "".join(f"{share:17.1%}" for share in held))
        assert (low[:, 1] <= values).all() and (values <= high[:, 1]).all()
        assert held[1] > 0.9 and held[1] > max(held) - 0.02
