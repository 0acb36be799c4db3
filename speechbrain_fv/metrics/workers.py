"""Blocks of an evaluation side by side: on a CPU each core computes a block of its own."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from threadpoolctl import ThreadpoolController


def num_workers(device):
    """Returns how many blocks are computed at a time: torch's threads, on another device 1."""
    return torch.get_num_threads() if torch.device(device).type == "cpu" else 1


def each(function, items, device):
    """Yields what a function returns for each item, in their order.

    On a CPU as many items are computed at a time as torch has threads, each in one thread: torch
    and numpy gain little from threads of their own within a block, whose size is that of the
    caches. What is done with the results happens in the thread that asks for them, so that sums
    do not depend on which block was ready first.

    Arguments
    ---------
    function : callable of one item
        Without side effects, except on what it locks or what no other item touches.
    items : iterable
        At most one more than there are threads is taken before its turn.
    device : str or torch.device

    Example
    -------
    >>> list(each(abs, [-1, -2, 3], "cpu"))
    [1, 2, 3]
    """
    workers = num_workers(device)
    if workers == 1:
        yield from map(function, items)
        return
    waiting = deque()
    mode = torch.is_inference_mode_enabled()  # of this thread; the others have their own

    def alone(item):
        with torch.inference_mode(mode), torch.no_grad():
            return function(item)

    with (
        _thread_pools().limit(limits=1, user_api="blas"),
        ThreadPoolExecutor(workers, initializer=_compute_alone) as pool,
    ):
        for item in items:
            waiting.append(pool.submit(alone, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _compute_alone():
    """Gives a worker one thread for what it computes; other threads of the process keep theirs."""
    torch.get_num_threads()  # torch sets the thread's own number on first use, and then no more
    _thread_pools().limit(limits=1, user_api="openmp")


@cache
def _thread_pools():
    return ThreadpoolController()
