"""A model's construction without memory, and a trial of it with one clip.

Both are stopped before they take more memory or time than any model's.
"""

import math
from contextlib import contextmanager, suppress

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

META = torch.device("meta")

MAX_OPERATIONS = 40_000
"""Tensor operations in the construction of one bundle; maxvit_tiny_tf_224 of timm takes 12 000."""

MAX_PARTS = 10**5
"""Modules of one bundle, one that stands in several places counted for each."""

MAX_REAL_ELEMENTS = 10**6
"""Of a tensor that has memory and values where its maker names a device, as timm does for rates."""

SPARE_ELEMENTS = 250_000_000
"""Elements that a construction may make beside the weights: windows, filters, masks."""

MAX_TRIAL_ELEMENTS = 10**8
"""Of one tensor, with one clip; all together may be ten times as large, and 4 for each byte of the
weights. tf_efficientnet_b7 of timm makes one of 2e7 for 600 x 600 pixels, and 1e9 in all."""

MAX_TRIAL_OPERATIONS = 200_000
"""With one clip; recurrent networks take ten and more for each frame and layer."""

MAX_TRIAL_WORK = 2 * 10**11
"""Multiplications with one clip; `WORK_PER_BYTE` more for each byte of the weights. SpeechBrain's
ResNet takes 1.3e11 for 10 s of speech."""

WORK_PER_BYTE = 2000

WORK_OF_POOLING = 100
"""Multiplications that take as long as an element under the window of a pooling."""

FAST_CHANNELS = 16
"""A convolution of fewer channels takes as long as one of so many."""


@contextmanager
def sketching(max_elements):
    """Within it tensors have shapes but no memory, and large ones whatever device is named.

    Arguments
    ---------
    max_elements : int
        Of all tensors together that may be made, also of those that are dropped at once.

    Raises
    ------
    ValueError
        If more elements are made, or more than `MAX_OPERATIONS` operations done.

    Example
    -------
    >>> with sketching(max_elements=10**10):
    ...     layer = torch.nn.Linear(10**4, 10**5, device="cpu")
    >>> layer.weight.device
    device(type='meta')
    """
    with META, _Sketch(max_elements):
        yield


@contextmanager
def trying(num_bytes):
    """Within it no operation is begun that would take more memory or time than any model's.

    Arguments
    ---------
    num_bytes : int
        Of the model's weights; a larger model may do more.

    Raises
    ------
    ValueError
        If a tensor, all tensors together, or the work would be more.

    Example
    -------
    >>> with trying(num_bytes=0):
    ...     torch.nn.Upsample(scale_factor=99999)(torch.ones(1, 3, 32, 32))
    Traceback (most recent call last):
    ValueError: it makes a tensor of 3.1e+13 elements, expected at most 1.0e+08
    """
    with _Trial(num_bytes):
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


class _Counted(TorchDispatchMode):
    """Counts operations, and the elements of all that they make."""

    def __init__(self, subject, max_elements, max_operations):
        super().__init__()
        self.subject, self.max_elements = subject, max_elements
        self.max_operations = max_operations
        self.elements, self.operations = 0, 0

    def _begin(self):
        self.operations += 1
        if self.operations > self.max_operations:
            raise ValueError(f"{self.subject} takes more than {self.max_operations} operations")

    def _add(self, made):
        """Counts the elements that an operation makes."""
        self.elements += made
        if self.elements > self.max_elements:
            raise ValueError(
                f"{self.subject} makes tensors of more than {self.max_elements:.1e} elements"
            )


class _Sketch(_Counted):
    def __init__(self, max_elements):
        super().__init__("its construction", max_elements, MAX_OPERATIONS)

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self._begin()
        try:
            result = operation(*_on_meta(args), **_on_meta(kwargs))
        except (RuntimeError, NotImplementedError):  # it asks for values, or is a mistake
            return operation(*args, **kwargs)
        made = _num_made(operation, result)
        self._add(made)
        if made <= MAX_REAL_ELEMENTS and not _is_meta((args, kwargs)):
            return operation(*args, **kwargs)
        return result


class _Trial(_Counted):
    def __init__(self, num_bytes):
        super().__init__("it", 10 * MAX_TRIAL_ELEMENTS + 4 * num_bytes, MAX_TRIAL_OPERATIONS)
        self.work, self.max_work = 0, MAX_TRIAL_WORK + WORK_PER_BYTE * num_bytes

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self._begin()
        if torch.Tag.pointwise in operation.tags:  # most are, and the others take far longer
            shapes = [value.shape for value in args if isinstance(value, torch.Tensor)]
            self._check(math.prod(torch.broadcast_shapes(*shapes)), 0)
        elif any(returned.alias_info is None for returned in operation._schema.returns):
            with suppress(RuntimeError, NotImplementedError):  # it asks for values
                result = operation(*_on_meta(args), **_on_meta(kwargs))
                made = _num_made(operation, result)
                self._check(made, _work(operation, args, kwargs, result, made))
        return operation(*args, **kwargs)

    def _check(self, made, work):
        """Raises ValueError if an operation that makes so many elements is too much."""
        if made > MAX_TRIAL_ELEMENTS:
            raise ValueError(
                f"it makes a tensor of {made:.1e} elements, expected at most "
                f"{MAX_TRIAL_ELEMENTS:.1e}"
            )
        self._add(made)
        self.work += work
        if self.work > self.max_work:
            raise ValueError(f"it takes more than {self.max_work:.1e} multiplications")


def _num_made(operation, result):
    """Returns the number of elements of the tensors that an operation makes anew."""
    results = result if isinstance(result, list | tuple) else [result]
    return sum(
        tensor.numel()
        for tensor, returned in zip(results, operation._schema.returns, strict=False)
        if isinstance(tensor, torch.Tensor) and returned.alias_info is None
    )


def _work(operation, args, kwargs, result, made):
    """Returns the multiplications of an operation, or what takes as long."""
    if operation.overloadpacket in flop_registry:
        work = flop_registry[operation.overloadpacket](*args, **kwargs, out_val=result) / 2
        if operation.overloadpacket is torch.ops.aten.convolution:
            channels = args[1].shape[:2]
            work *= math.prod(max(1, FAST_CHANNELS / number) for number in channels)
        return work
    names = [argument.name for argument in operation._schema.arguments]
    window = dict(zip(names, args, strict=False)).get("kernel_size", [0])
    return WORK_OF_POOLING * made * math.prod(window)


def _on_meta(arguments):
    """Returns arguments with all tensors and devices on the meta device."""
    moved = tree_map_only(torch.Tensor, lambda tensor: tensor.to(META), arguments)
    return tree_map_only(torch.device, lambda device: META, moved)


def _is_meta(arguments):
    """Whether arguments name the meta device or hold a tensor on it."""
    return any(
        part == META or (isinstance(part, torch.Tensor) and part.device == META)
        for part in tree_leaves(arguments)
    )
