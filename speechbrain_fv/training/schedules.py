"""The learning rate over the optimiser steps of a training."""

import math

import torch
from speechbrain.utils.checkpoints import mark_as_loader, mark_as_saver, register_checkpoint_hooks

SHAPES = ("exponential", "cosine", "linear")


def parameter_groups(modules, lr_factors):
    """Returns the groups of an optimiser in which some parts learn at a rate of their own.

    Arguments
    ---------
    modules : torch.nn.Module
        All that trains.
    lr_factors : dict of str to float
        The name of a part, such as "face_encoder.network", and by what the rate is multiplied for
        its weights, above 0. Of nested parts the longest name counts.

    Returns
    -------
    groups : list of dict
        The first has the weights of no such part.

    Raises
    ------
    ValueError
        If there is no such part, none of its weights trains, or a factor is not above 0.

    Example
    -------
    >>> layers = torch.nn.ModuleDict({"a": torch.nn.Linear(1, 1), "b": torch.nn.Linear(1, 1)})
    >>> [(g["lr_factor"], len(g["params"])) for g in parameter_groups(layers, {"b": 0.1})]
    [(1.0, 2), (0.1, 2)]
    """
    groups = {"": {"params": [], "lr_factor": 1.0}}
    for part, factor in lr_factors.items():
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not factor > 0:
            raise ValueError(f"lr_factors: {part}: expected a number above 0, got {factor!r}")
        groups[part] = {"params": [], "lr_factor": float(factor)}
    for name, parameter in modules.named_parameters():
        name = name.replace("_orig_mod.", "")  # of a module that --compile compiled
        holders = [part for part in lr_factors if f"{name}.".startswith(f"{part}.")]
        if parameter.requires_grad:
            groups[max(holders, key=len, default="")]["params"].append(parameter)
    for part in lr_factors:
        if not groups[part]["params"]:
            raise ValueError(
                f"lr_factors: expected a part of the modules with weights that train, such as "
                f"face_encoder.network, got {part}"
            )
    return [group for group in groups.values() if group["params"]]


@register_checkpoint_hooks
class DecaySchedule:
    """Holds the learning rate for a while and lets it fall to its final value at the last step.

    SpeechBrain's `WarmAndExpDecayLRSchedule` keeps in its checkpoint for how many steps it was
    made: trained for longer than that, a resumed run goes on at 1e-10. Here the checkpoint holds
    the step alone, and a resumed run follows the curve of its present number of steps.

    Arguments
    ---------
    lr : float
        Learning rate of the first step, positive.
    final_lr : float
        That of the step after the last, positive, at most `lr`; 1e-8 in Bi-Pcm.
    total_steps : int
        Optimiser steps of the training.
    shape : str
        "exponential" (the paper's), "cosine" or "linear".
    hold : float
        Share of the steps at `lr` before it falls, in [0, 1).
    floor : float
        The rate never falls below it; at most `lr`. An exponential to 1e-8 spends four tenths of
        its steps below 1e-6, where they change nothing.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Example
    -------
    >>> schedule = DecaySchedule(lr=1.0, final_lr=0.01, total_steps=4, floor=0.05)
    >>> [round(schedule.at(step), 4) for step in range(5)]
    [1.0, 0.3162, 0.1, 0.05, 0.05]
    """

    def __init__(self, lr, final_lr, total_steps, shape="exponential", hold=0.0, floor=0.0):
        if shape not in SHAPES:
            raise ValueError(f"shape: expected one of {', '.join(SHAPES)}, got {shape!r}")
        if not 0 < final_lr <= lr:
            raise ValueError(
                f"final_lr: expected a number above 0 and at most {lr}, got {final_lr}"
            )
        if not 0 <= hold < 1:
            raise ValueError(f"hold: expected a share in [0, 1), got {hold}")
        if not 0 <= floor <= lr:
            raise ValueError(f"floor: expected a number from 0 to lr = {lr}, got {floor}")
        self.lr, self.final_lr, self.total_steps = lr, final_lr, total_steps
        self.shape, self.hold, self.floor = shape, hold, floor
        self.current_step = 0

    def at(self, step):
        """Returns the learning rate of an optimiser step counted from 0."""
        progress = step / self.total_steps
        if self.hold:
            progress = max(0.0, (progress - self.hold) / (1 - self.hold))
        if self.shape == "exponential":
            rate = self.lr * (self.final_lr / self.lr) ** progress
        elif self.shape == "cosine":
            share = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
            rate = self.final_lr + (self.lr - self.final_lr) * share
        else:
            rate = self.lr + (self.final_lr - self.lr) * min(progress, 1.0)
        return max(min(self.lr, rate), self.floor)

    def __call__(self, optimizer):
        """Sets the learning rate of the next step in an optimizer.

        That of a group is multiplied by its `lr_factor`, where it has one.
        """
        rate = self.at(self.current_step)
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("lr_factor", 1.0)
        self.current_step += 1

    @mark_as_saver
    def save(self, path):
        """Writes the step."""
        torch.save({"current_step": self.current_step}, path)

    @mark_as_loader
    def load(self, path, end_of_epoch=False, device=None):
        """Goes on from the step of a checkpoint."""
        self.current_step = torch.load(path, weights_only=True)["current_step"]
