"""A GPU that computes nothing: every operation runs on shapes, types and devices alone.

torch's FakeTensorMode refuses what a GPU refuses, such as tensors of two devices in one operation
or numpy on a tensor that lies there. It has no values: where the code asks for one, `Answers` gives
it, and notes that the process would wait for the device.
"""

import contextlib

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

ATEN = torch.ops.aten
INTEGERS = {torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool}
PRODUCTS = (ATEN.mm, ATEN.bmm, ATEN.addmm, ATEN.mv, ATEN.dot, ATEN.baddbmm)


class Answers(TorchDispatchMode):
    """Answers where values are asked for, and refuses products of integers, as a GPU does.

    Numbers are 1, two tensors are equal, all entries of a mask are true, all of a tensor differ.

    Arguments
    ---------
    truth : bool
        What a single truth value is.
    """

    def __init__(self, truth=True):
        super().__init__()
        self.truth = truth
        self.waits = []  # names of the operations for which the process would wait

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        packet = function.overloadpacket
        if packet in PRODUCTS and args[0].device.type == "cuda" and args[0].dtype in INTEGERS:
            raise RuntimeError(f"{packet}: a GPU has no products of integers")
        if packet is ATEN._local_scalar_dense:
            self._waits(packet, args[0])
            if args[0].dtype == torch.bool:
                return self.truth
            return 1.0 if args[0].dtype.is_floating_point else 1
        if packet is ATEN.equal:
            self._waits(packet, args[0])
            return True
        if packet is ATEN.nonzero:
            self._waits(packet, args[0])
            return args[0].new_empty(args[0].numel(), args[0].ndim, dtype=torch.int64)
        if packet is ATEN._unique2:
            self._waits(packet, args[0])
            return (args[0].clone(), *(torch.zeros_like(args[0], dtype=torch.int64) for _ in "12"))
        if packet is ATEN.bincount:
            self._waits(packet, args[0])
            return args[0].new_empty(kwargs.get("minlength", args[-1]), dtype=torch.int64)
        if packet in (ATEN.index, ATEN.index_put, ATEN.index_put_):
            args = (args[0], self._places(args[1]), *args[2:])
        if packet is ATEN._to_copy and not kwargs.get("non_blocking"):
            ends = {args[0].device.type, torch.device(kwargs.get("device", args[0].device)).type}
            if ends == {"cpu", "cuda"}:
                self.waits.append("_to_copy")
        return function(*args, **kwargs)

    def _waits(self, packet, tensor):
        if tensor.device.type == "cuda":
            self.waits.append(packet.__name__)

    def _places(self, indices):
        """Masks as numbers, all of them."""
        places = []
        for index in indices:
            if index is None or index.dtype != torch.bool:
                places.append(index)
                continue
            self._waits(ATEN.nonzero, index)
            places += [index.new_empty(index.numel(), dtype=torch.int64)] * index.ndim
        return places


@contextlib.contextmanager
def fake_gpu(truth=True):
    """Within it tensors may lie on "cuda"; yields the `Answers`."""
    with FakeTensorMode(allow_non_fake_inputs=True), Answers(truth) as answers:
        yield answers


def to_gpu(module):
    """Puts a module's parameters and buffers on the fake GPU, without their values; returns it."""
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None:
                moved = _like(value)
                part._parameters[name] = torch.nn.Parameter(moved, value.requires_grad)
        for name, value in part._buffers.items():
            if value is not None:
                part._buffers[name] = _like(value)
    return module


def _like(value):
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cuda")
