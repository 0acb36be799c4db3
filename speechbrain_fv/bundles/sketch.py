"""A model's construction without memory, and a trial of it with one clip, both bounded.

A few characters of a stranger's YAML can ask for more memory or time than any machine has.
"""

import time
from contextlib import contextmanager, suppress
from math import prod

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

META = torch.device("meta")

MAX_PARTS = 10**5
"""Modules of one bundle, one that stands in several places counted for each."""

SPARE_ELEMENTS = 250_000_000
"""Elements that a construction may make beside the weights: windows, filters, masks."""

MAX_TENSOR = 10**8
"""Elements of one tensor of a trial; all together may have ten times as many, and 4 for each byte
of the weights. tf_efficientnet_b7 of timm makes one of 2e7 for 600 x 600 pixels, and 1e9 in all."""

MAX_WORK = 10**11
"""Additions and multiplications of one operation of a trial; those of large networks take 3e10."""

MAX_SECONDS = 30
"""Time of the calling thread on a processor, for a construction and for a trial, compared whenever
an operation begins; maxvit_tiny_tf_224 of timm takes 4 s to construct."""


@contextmanager
def sketching(max_elements, max_seconds=MAX_SECONDS):
    """Within it tensors have shapes but no memory, unless a device is named.

    Arguments
    ---------
    max_elements : int
        Of all tensors together that may be made, also of those that are dropped at once.
    max_seconds : float
        See `MAX_SECONDS`.

    Raises
    ------
    ValueError
        If more elements are made, or it takes longer; before the memory is taken.

    Example
    -------
    >>> with sketching(max_elements=10**10):
    ...     layer = torch.nn.Linear(10**4, 10**5)
    >>> layer.weight.device
    device(type='meta')
    """
    with META, _Bounded("its construction", max_elements, max_elements, max_seconds):
        yield


@contextmanager
def trying(num_bytes, max_seconds=MAX_SECONDS):
    """Within it no operation begins that would take more memory or time than a model's.

    Arguments
    ---------
    num_bytes : int
        Of the model's weights; a larger model may make more.
    max_seconds : float
        See `MAX_SECONDS`.

    Raises
    ------
    ValueError
        If a tensor or all tensors together have too many elements, one operation would take too
        much work, or all of them take too long.

    Example
    -------
    >>> with trying(num_bytes=0):
    ...     torch.nn.Upsample(scale_factor=99999)(torch.ones(1, 3, 32, 32))
    Traceback (most recent call last):
    ValueError: it makes a tensor of 3.1e+13 elements, expected at most 1.0e+08
    """
    with _Bounded("it", MAX_TENSOR, 10 * MAX_TENSOR + 4 * num_bytes, max_seconds):
        yield


def check_parts(modules):
    """Raises ValueError if modules hold more than `MAX_PARTS` others, repetitions counted.

    A few lines can put a module twice into another, that one twice into a third, and so on.
    """
    count = 0
    for module in modules:
        for _ in module.named_modules(remove_duplicate=False):
            count += 1
            if count > MAX_PARTS:
                raise ValueError(f"expected at most {MAX_PARTS} modules, repetitions counted")


class _Bounded(TorchDispatchMode):
    """Asks the meta device what an operation would make, and refuses it where that is too much."""

    def __init__(self, subject, max_tensor, max_elements, max_seconds):
        from torch.utils.flop_counter import flop_registry  # imports triton

        super().__init__()
        self.work_of = flop_registry
        self.subject, self.max_tensor, self.max_elements = subject, max_tensor, max_elements
        self.elements, self.max_seconds = 0, max_seconds
        self.end = time.thread_time() + max_seconds

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if time.thread_time() > self.end:
            raise ValueError(f"{self.subject} takes more than {self.max_seconds} seconds")
        if any(returned.alias_info is None for returned in operation._schema.returns):
            with suppress(RuntimeError, NotImplementedError):  # it asks for values, not for memory
                self._check(operation, args, kwargs)
        return operation(*args, **kwargs)

    def _check(self, operation, args, kwargs):
        """Raises ValueError if an operation would make too much or take too long."""
        meta_args, meta_kwargs = tree_map(_on_meta, (args, kwargs))
        result = operation(*meta_args, **meta_kwargs)
        results = result if isinstance(result, list | tuple) else [result]
        sizes = [tensor.numel() for tensor in results if isinstance(tensor, torch.Tensor)]
        made = max(sizes, default=0)
        if made > self.max_tensor:
            raise ValueError(
                f"{self.subject} makes a tensor of {made:.1e} elements, expected at most "
                f"{self.max_tensor:.1e}"
            )
        names = [argument.name for argument in operation._schema.arguments]
        window = dict(zip(names, args, strict=False)).get("kernel_size", ())  # of a pooling
        self.elements += sum(sizes) * prod(window)
        if self.elements > self.max_elements:
            raise ValueError(
                f"{self.subject} makes tensors of more than {self.max_elements:.1e} elements, "
                "those under the windows of a pooling counted"
            )
        packet = operation.overloadpacket
        if packet in self.work_of:
            work = self.work_of[packet](*args, **kwargs, out_val=result)
            if packet is torch.ops.aten.convolution:  # few channels take as long as 16
                work *= prod(max(1, 16 / channels) for channels in args[1].shape[:2])
            if work > MAX_WORK:
                raise ValueError(
                    f"{self.subject} takes {work:.1e} additions and multiplications in one "
                    f"operation, expected at most {MAX_WORK:.1e}"
                )


def _on_meta(part):
    """Returns a tensor or a device on the meta device, anything else as it is."""
    if isinstance(part, torch.Tensor):
        return part.to(META)
    return META if isinstance(part, torch.device) else part
