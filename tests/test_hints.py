"""Type hints of what users call: all of it, and such that they can be resolved."""

import inspect
import typing

import pytest
import torch

from speechbrain_fv.evaluation import calibration, embeddings, exact, groups, lists, paired, report
from speechbrain_fv.inference import FaceVoiceAssociation, Verification, loading
from speechbrain_fv.media import face_detection
from speechbrain_fv.search import gallery, index

MODULES = [
    *(calibration, embeddings, exact, groups, lists, paired, report),
    *(face_detection, loading, gallery, index),
]


def defined_in(place, prefix):
    """Returns the public functions that a module or a class defines itself, by name."""
    found, source = {}, getattr(place, "__module__", place.__name__)
    for name, member in vars(place).items():
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if inspect.isfunction(function) and (name == "__init__" or not name.startswith("_")):
            found[f"{prefix}.{name}"] = function
    return {name: function for name, function in found.items() if function.__module__ == source}


SOURCE = "speechbrain_fv."
FUNCTIONS = defined_in(FaceVoiceAssociation, "FaceVoiceAssociation")
for module in MODULES:
    short = module.__name__.removeprefix(SOURCE)
    FUNCTIONS |= defined_in(module, short)
    for name, member in vars(module).items():
        if inspect.isclass(member) and member.__module__ == module.__name__ and name[0] != "_":
            FUNCTIONS |= defined_in(member, f"{short}.{name}")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_and_result_has_a_type(name):
    function = FUNCTIONS[name]
    hints = typing.get_type_hints(function)
    arguments = [
        argument for argument in inspect.signature(function).parameters if argument != "self"
    ]
    assert set(arguments) - {"cls"} | {"return"} <= set(hints)


def test_hints_are_those_of_what_is_returned():
    assert len(FUNCTIONS) > 60
    assert typing.get_type_hints(FaceVoiceAssociation.verify)["return"] is Verification
    assert typing.get_type_hints(FaceVoiceAssociation.encode_face)["return"] is torch.Tensor
