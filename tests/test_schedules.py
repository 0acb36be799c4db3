"""The learning rate against SpeechBrain's, its shapes, and what a resumed run finds."""

import math

import pytest
import torch
from speechbrain.nnet.schedulers import WarmAndExpDecayLRSchedule

from speechbrain_fv.training.schedules import DecaySchedule, parameter_groups


def rates(schedule, num_steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=9.0)
    found = []
    for _ in range(num_steps):
        schedule(optimizer)
        found.append(optimizer.param_groups[0]["lr"])
    return found


@pytest.mark.parametrize(("lr", "final_lr", "steps"), [(1e-3, 1e-8, 300), (3e-4, 1e-4, 7)])
def test_the_exponential_is_speechbrains(lr, final_lr, steps):
    theirs = WarmAndExpDecayLRSchedule(lr, 0, steps, decay_factor=final_lr / lr)
    assert rates(DecaySchedule(lr, final_lr, steps), steps) == rates(theirs, steps)


def test_shapes_start_at_lr_fall_and_end_at_the_final_rate():
    for shape in ("exponential", "cosine", "linear"):
        for hold in (0.0, 0.5):
            schedule = DecaySchedule(1e-2, 1e-4, 100, shape, hold)
            found = [schedule.at(step) for step in range(101)]
            assert found[0] == 1e-2 and found[-1] == pytest.approx(1e-4)
            assert found == sorted(found, reverse=True)
            assert found.count(1e-2) >= 100 * hold
    half = DecaySchedule(1.0, 0.5, 100, "cosine").at(50)
    assert half == pytest.approx(0.5 + 0.5 * (1 + math.cos(math.pi / 2)) / 2)


def test_a_floor_holds():
    schedule = DecaySchedule(1e-3, 1e-8, 100, floor=1e-6)
    assert min(schedule.at(step) for step in range(200)) == 1e-6


def test_more_steps_on_resume_follow_the_curve_of_the_new_total(tmp_path):
    """SpeechBrain's schedule kept the old total and fell on below its final rate."""
    first = DecaySchedule(1e-3, 1e-8, 10)
    rates(first, 10)
    first.save(tmp_path / "schedule")
    longer = DecaySchedule(1e-3, 1e-8, 20)
    longer.load(tmp_path / "schedule")
    assert rates(longer, 10) == [DecaySchedule(1e-3, 1e-8, 20).at(step) for step in range(10, 20)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": "steps"}, "shape: expected one of"),
        ({"final_lr": 0.0}, "final_lr: expected"),
        ({"final_lr": 1.0}, "final_lr: expected"),
        ({"hold": 1.0}, "hold: expected"),
        ({"floor": 1.0}, "floor: expected"),
    ],
)
def test_mistakes_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        DecaySchedule(**{"lr": 0.1, "final_lr": 0.01, "total_steps": 5, **options})


def test_parts_learn_at_rates_of_their_own():
    """A step of plain SGD moves every weight by its own rate times its gradient."""
    modules = torch.nn.ModuleDict(
        {
            "encoder": torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)),
            "head": torch.nn.Linear(2, 1),
        }
    )
    modules["head"].bias.requires_grad_(False)
    factors = {"encoder": 0.1, "encoder.1": 0.5}
    optimizer = torch.optim.SGD(parameter_groups(modules, factors), lr=1.0)
    DecaySchedule(lr=2.0, final_lr=1.0, total_steps=10)(optimizer)
    before = {name: value.clone() for name, value in modules.named_parameters()}
    for parameter in modules.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moved = {name: before[name] - value for name, value in modules.named_parameters()}
    rates = {"encoder.0": 0.2, "encoder.1": 1.0, "head.weight": 2.0, "head.bias": 0.0}
    for start, rate in rates.items():
        for name, change in moved.items():
            if name.startswith(start):
                torch.testing.assert_close(change, torch.full_like(change, rate))


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"encoder": 0}, "encoder: expected a number above 0, got 0"),
        ({"encoder": True}, "expected a number above 0, got True"),
        ({"enc": 0.1}, "expected a part of the modules with weights that train"),
    ],
)
def test_wrong_rates_of_parts_are_refused(factors, message):
    with pytest.raises(ValueError, match=message):
        parameter_groups(torch.nn.ModuleDict({"encoder": torch.nn.Linear(1, 1)}), factors)


def test_parts_of_compiled_modules_have_the_same_names():
    modules = torch.nn.ModuleDict({"encoder": torch.compile(torch.nn.Linear(2, 2))})
    assert parameter_groups(modules, {"encoder": 0.5})[-1]["lr_factor"] == 0.5
