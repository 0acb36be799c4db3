"""What test_distributed.py runs in every process of torchrun: assertions on the collectives."""

import copy
import sys
import tempfile

import timm
import torch
import torch.distributed as dist
from torch.distributed.optim import ZeroRedundancyOptimizer

from speechbrain_fv import distributed
from speechbrain_fv.settings.script import run_script
from speechbrain_fv.training.checkpoints import AtomicCheckpointer

ROWS = 6  # per process


def check_gather(rank, world):
    """The gathered rows, and the owner's gradient of a loss that every process computes."""
    whole = torch.randn(2, world * ROWS, 3, requires_grad=True)
    weights = torch.randn_like(whole)
    (whole.cumsum(1).square() * weights).sum().backward()
    mine = slice(rank * ROWS, (rank + 1) * ROWS)
    own = whole.detach()[:, mine].clone().requires_grad_()
    gathered = distributed.gather(own, dim=1)
    assert torch.equal(gathered, whole)
    (gathered.cumsum(1).square() * weights).sum().backward()
    torch.testing.assert_close(own.grad / world, whole.grad[:, mine])
    assert distributed.gather_objects(f"rank {rank}") == [f"rank {r}" for r in range(world)]


def check_exchange(rank, world):
    """The mean of the gradients, also of those that wait; one outside the loss stays None.

    The third layer's term has weight zero: it is computed, and plays no part in the loss.
    """
    layers = torch.nn.ModuleList(torch.nn.Linear(1, 1, bias=False) for _ in range(4))
    layers[3].requires_grad_(False)
    modules = torch.nn.ModuleDict({"layers": layers})
    exchange = distributed.share(modules, ())
    mean = (world - 1) / 2

    def loss(first, second):
        terms = [layer(torch.ones(1, 1)).sum() for layer in layers]
        return terms[0] * first + terms[1] * second  # of which the gradients are these numbers

    def gradients():
        return [None if p.grad is None else p.grad.item() for p in layers.parameters()]

    for _ in range(2):
        exchange(loss(rank, 2 * rank)).backward()
        assert gradients() == [mean, 2 * mean, None, None]
        layers.zero_grad()
        with exchange.no_sync():
            exchange(loss(rank, 0)).backward()
        assert gradients()[0] == rank
        exchange(loss(0, rank)).backward()
        assert gradients() == [mean, mean, None, None]
        layers.zero_grad()
        with exchange.no_sync():
            exchange(loss(rank, 3 * rank)).backward()
        exchange(loss(1, 1))  # skipped: its loss is not finite
        distributed.exchange_waiting(exchange)
        assert gradients() == [mean, 3 * mean, None, None]
        layers.zero_grad()
        exchange(loss(1, 1))
        with exchange.no_sync():
            exchange(loss(rank, rank)).backward()
        exchange(loss(rank, rank)).backward()
        assert gradients() == [2 * mean, 2 * mean, None, None]
        layers.zero_grad()
    assert list(modules.state_dict()) == [f"layers.{n}.weight" for n in range(4)]


def check_compression(rank, world):
    """What halves the traffic rounds the mean, and trains float32 all the same."""
    for name, kind in (("fp16", torch.float16), ("bf16", torch.bfloat16)):
        layer = torch.nn.Linear(50, 1, bias=False)
        rows = torch.randn(world, 50)
        exchange = distributed.share(torch.nn.ModuleDict({"layer": layer}), (), name)
        exchange(layer(rows[rank]).sum()).backward()
        assert layer.weight.grad.dtype == torch.float32
        error = (layer.weight.grad[0] - rows.mean(dim=0)).abs().max()
        assert 0 < error < 4 * torch.finfo(kind).eps


def check_nothing_to_train(rank, world):
    """Without a trained parameter there is nothing to exchange."""
    frozen = torch.nn.Linear(2, 2).requires_grad_(False)
    assert distributed.share(torch.nn.ModuleDict({"frozen": frozen}), ["frozen"]) is None


def check_batch_norm(rank, world):
    """A network of BatchNorms on own rows equals it on all rows: forward, gradients, statistics."""
    whole = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, bias=False),
        timm.layers.BatchNormAct2d(8),
        torch.nn.Conv2d(8, 4, 3, bias=False),
        torch.nn.BatchNorm2d(4, momentum=None),
        torch.nn.Flatten(2),
        torch.nn.BatchNorm1d(4, track_running_stats=False),
        torch.nn.Flatten(1),
        torch.nn.BatchNorm1d(36, affine=False, momentum=0.0),
    )
    torch.nn.init.normal_(whole[1].weight)
    behind = torch.nn.BatchNorm1d(36)
    modules = torch.nn.ModuleDict(
        {"network": copy.deepcopy(whole), "behind": copy.deepcopy(behind)}
    )
    if rank:
        torch.nn.init.zeros_(modules["network"][0].weight)  # `share` gives all those of rank 0
    exchange = distributed.share(modules, ["network"])
    network = modules["network"]
    assert network.state_dict().keys() == whole.state_dict().keys()
    for _ in range(2):
        x = torch.randn(world * ROWS, 3, 7, 7)
        weights = torch.randn(world * ROWS, 36)
        own = x[rank * ROWS : (rank + 1) * ROWS].clone()
        x.requires_grad_(), own.requires_grad_()
        expected, found = behind(whole(x)), modules["behind"](distributed.gather(network(own)))
        assert torch.equal(found, expected)
        (expected * weights).square().mean().backward()
        exchange((found * weights).square().mean()).backward()
        torch.testing.assert_close(own.grad / world, x.grad[rank * ROWS : (rank + 1) * ROWS])
    whole.append(behind)
    for parameter, reference in zip(modules.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, reference.grad, rtol=1e-4, atol=1e-7)
    for value, reference in zip(modules.buffers(), whole.buffers(), strict=True):
        assert torch.equal(value, reference)
    own = torch.randn(2, 3, 7, 7) + rank  # evaluation: every process on its own
    assert torch.equal(modules["behind"].eval()(network.eval()(own)), whole.eval()(own))


def check_dropout(rank, world):
    """The masks of all processes together are those of one with all rows."""
    x = torch.randn(world * ROWS, 5)
    torch.manual_seed(3)
    expected = torch.nn.functional.dropout(x, 0.4)
    torch.manual_seed(3)
    found = distributed.Dropout(0.4)(x[rank * ROWS : (rank + 1) * ROWS])
    assert torch.equal(distributed.gather(found), expected)


def check_sharded_optimiser(rank, world):
    """Every process keeps a part of Adam's state; steps, and a checkpoint read back, equal Adam."""
    folder = distributed.gather_objects(tempfile.mkdtemp())[0]

    def sharded(layers):
        return ZeroRedundancyOptimizer(layers.parameters(), torch.optim.Adam, lr=0.1)

    layers = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 4))
    whole = copy.deepcopy(layers)
    optimisers = [sharded(layers), torch.optim.Adam(whole.parameters(), lr=0.1)]

    def step():
        for part, optimiser in zip((layers, whole), optimisers, strict=True):
            optimiser.zero_grad()
            part(torch.ones(1, 3)).square().sum().backward()
            optimiser.step()
        for own, reference in zip(layers.parameters(), whole.parameters(), strict=True):
            assert torch.equal(own, reference)

    step()
    step()
    assert len(optimisers[0].optim.state) < 4  # of its own part alone
    AtomicCheckpointer(folder, {"optimizer": optimisers[0]}).save_checkpoint()
    optimisers[0] = sharded(layers)
    checkpoint = AtomicCheckpointer(folder, {"optimizer": optimisers[0]}).recover_if_possible()
    saved = torch.load(checkpoint.path / "optimizer.ckpt")["state"]
    reference = optimisers[1].state_dict()["state"]
    assert all(torch.equal(saved[n][key], reference[n][key]) for n in range(4) for key in saved[n])
    step()


def check_all(argv):
    """Runs all checks; with the argument "fail" rank 1 stops and the others wait for it."""
    dist.init_process_group("gloo")
    rank, world = distributed.world()
    if argv == ["fail"]:
        if rank == 1:
            raise ValueError("a clip of rank 1 is broken")
        dist.barrier()
    for check in (
        *(check_gather, check_exchange, check_compression, check_nothing_to_train),
        *(check_batch_norm, check_dropout, check_sharded_optimiser),
    ):
        torch.manual_seed(0)
        check(rank, world)


if __name__ == "__main__":
    sys.exit(run_script(check_all, "usage: distributed_checks.py all|fail"))
