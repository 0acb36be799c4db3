"""Blocks side by side: the same results in the same order, and no other thread's number changed."""

import threading

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from speechbrain_fv import metrics
from speechbrain_fv.evaluation.exact import evaluate
from speechbrain_fv.experiments.benchmarks.evaluation import made_up_people


@pytest.fixture(params=[2, 5])
def threads(request):
    """Has torch take several threads, as on a machine with so many cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_items(threads):
    together = threading.Barrier(threads, timeout=20)

    def late_if_first(item):
        if item < threads:
            together.wait()  # passes only if as many as there are threads run at a time
        return item, torch.get_num_threads(), torch.is_grad_enabled()

    found = list(metrics.each(late_if_first, range(20), "cpu"))
    assert [item for item, *_ in found] == list(range(20))
    assert {(number, grad) for _, number, grad in found} == {(1, False)}


def test_no_more_items_are_taken_than_are_under_way(threads):
    taken = []
    items = (taken.append(item) or item for item in range(50))
    for done, _ in enumerate(metrics.each(abs, items, "cpu")):
        assert len(taken) <= done + 1 + threads


def test_threads_are_afterwards_what_they_were(threads):
    def pools():
        return [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]

    np.ones((2, 2)) @ np.ones((2, 2))
    before = pools()
    for stop in (3, 20):
        for item in metrics.each(abs, range(20), "cpu"):
            if item == stop:
                break
    assert pools() == before
    assert torch.get_num_threads() == threads
    with pytest.raises(ZeroDivisionError):
        list(metrics.each(lambda item: 1 // item, [1, 0, 2], "cpu"))
    assert pools() == before


def test_a_report_is_the_same_in_several_threads(threads):
    embeddings, metadata = made_up_people(300, 400, 30, 8)
    options = {"num_replicates": 50, "chunk_size": 20000}
    found = [evaluate(embeddings, metadata, **options).replicates]
    with torch.inference_mode():
        found.append(evaluate(embeddings, metadata, **options).replicates)
    torch.set_num_threads(1)
    report = evaluate(embeddings, metadata, **options)
    for path, values in report.replicates.items():
        if path not in ("identities", "seed"):
            for other in found:
                assert np.allclose(other[path], values, rtol=0, atol=1e-12, equal_nan=True), path
