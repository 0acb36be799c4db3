"""A function of many files in several processes, of which some may die."""

import logging
import multiprocessing
import os
import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from speechbrain_fv.messages import in_one_line

logger = logging.getLogger(__name__)

CHUNK_SIZE = 16  # files per task of a process
AHEAD = 2  # tasks per process that wait or are worked on
DIED = "the process that read it died (a crash, or no memory left); save the file again"


class Unwritable(OSError):
    """What is made of a file cannot be written: the disk is at fault, not the file."""


def read_all(read, paths, num_workers, chunk_size=CHUNK_SIZE):
    """Yields (path, facts) of every path, in any order.

    Whatever error a file raises becomes its facts, but for `Unwritable`. Of files whose process
    died each is read again by itself, and the facts of the culprit are {"error": `DIED`}.

    Arguments
    ---------
    read : callable
        Returns the facts of a path; other processes must be able to import it.
    paths : list of str
    num_workers : int
        Processes, at least 0; 0 reads in this one.
    chunk_size : int
        Files per task of a process.
    """
    if num_workers == 0:
        yield from ((path, _read_one(read, path)) for path in paths)
        return
    chunks = deque(paths[at : at + chunk_size] for at in range(0, len(paths), chunk_size))
    while chunks:
        suspects = yield from _until_one_dies(read, chunks, min(num_workers, len(chunks)))
        if suspects:
            logger.warning("a process died while it read one of %d files", len(suspects))
        while suspects:
            suspects = yield from _one_by_one(read, suspects)


def _until_one_dies(read, chunks, num_workers):
    """Yields what processes read of chunks, which it takes from the left; returns what is open."""
    running, lost = {}, []
    with _pool(num_workers) as pool:
        while (chunks or running) and not lost:
            try:
                while chunks and len(running) < AHEAD * num_workers:
                    running[pool.submit(_read_chunk, read, chunks[0])] = chunks[0]
                    chunks.popleft()
            except BrokenProcessPool:
                lost = list(running.values())
                break
            for task in wait(running, return_when=FIRST_COMPLETED).done:
                try:
                    facts = task.result()
                except BrokenProcessPool:
                    lost.append(running.pop(task))
                else:
                    yield from zip(running.pop(task), facts, strict=True)
        # The others of a broken pool end likewise, unless they had finished before.
        lost += [chunk for chunk in running.values() if chunk not in lost]
    return [path for chunk in lost for path in chunk]


def _one_by_one(read, paths):
    """Yields the facts of paths until one kills its process, which is told; returns the others."""
    with _pool(1) as pool:
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise ValueError(
                "processes that read files end before they begin; look at what they print above, "
                "or read in the main process: num_workers (scan_workers in a YAML) 0"
            ) from error
        for position, path in enumerate(paths):
            try:
                facts = pool.submit(_read_one, read, path).result()
            except BrokenProcessPool:
                logger.warning("%s: %s", path, DIED)
                yield path, {"error": DIED}
                return paths[position + 1 :]
            yield path, facts
    return []


def _read_chunk(read, paths):
    return [_read_one(read, path) for path in paths]


def _read_one(read, path):
    try:
        return read(path)
    except Unwritable:
        raise
    except Exception as error:  # a bad sector, no memory: one file must not end the preparation
        return {"error": f"cannot be read ({in_one_line(error)}); copy or save it again"}


@contextmanager
def _pool(num_workers):
    # A forked copy of a process whose torch has threads can deadlock: start afresh.
    pool = ProcessPoolExecutor(
        num_workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_end_with_parent,
    )
    try:
        with _one_thread_each():
            yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread_each():
    """Lets the processes that are started inside use one thread of OpenMP.

    There is a process per core: more threads wait for each other, which took the face detector
    fifty times as long.
    """
    earlier = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if earlier is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = earlier


def _end_with_parent():
    """Without it a worker outlives a parent that was killed, waiting for work for ever."""

    def wait_for_parent():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait_for_parent, daemon=True).start()
