"""A model's construction without memory, and stopped before it takes longer than any model's."""

from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

META = torch.device("meta")

MAX_OPERATIONS = 40_000
"""Tensor operations in the construction of one bundle; maxvit_tiny_tf_224 of timm takes 12 000."""

MAX_PARTS = 10**5
"""Modules of one bundle, one that stands in several places counted for each."""

MAX_REAL_ELEMENTS = 10**6
"""Of a tensor that has memory and values where its maker names a device, as timm does for rates."""

SPARE_ELEMENTS = 250_000_000
"""Elements that a construction may make beside the weights: windows, filters, masks."""


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


class _Sketch(TorchDispatchMode):
    def __init__(self, max_elements):
        super().__init__()
        self.max_elements, self.elements, self.operations = max_elements, 0, 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self.operations += 1
        if self.operations > MAX_OPERATIONS:
            raise ValueError(f"its construction takes more than {MAX_OPERATIONS} operations")
        try:
            result = operation(*_on_meta(args), **_on_meta(kwargs))
        except (RuntimeError, NotImplementedError):  # it asks for values, or is a mistake
            return operation(*args, **kwargs)
        if self._made(operation, result) <= MAX_REAL_ELEMENTS and not _is_meta((args, kwargs)):
            return operation(*args, **kwargs)
        return result

    def _made(self, operation, result):
        """Returns how many elements an operation makes, once they are counted and within bounds."""
        results = result if isinstance(result, list | tuple) else [result]
        made = sum(
            tensor.numel()
            for tensor, returned in zip(results, operation._schema.returns, strict=False)
            if isinstance(tensor, torch.Tensor) and returned.alias_info is None  # a new one
        )
        self.elements += made
        if self.elements > self.max_elements:
            raise ValueError(
                f"its construction makes tensors of more than {self.max_elements:.1e} elements"
            )
        return made


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
