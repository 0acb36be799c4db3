"""Several processes that train as one: what two of them with 64 pairs do, one with 128 does too.

Every process computes the loss L of the global batch, from features gathered in the order of the
ranks; what is trained is the mean of these equal losses. The gather hands every row's gradient,
summed over the processes, back to the owner of the row, and torch's DistributedDataParallel takes
the mean over the processes: together, the gradient of one process with the whole batch.

Without torchrun every function here is the plain single-process one.
"""

import datetime
import functools
import logging
import os
import sys

import torch
import torch.distributed as dist
from speechbrain.utils.distributed import ddp_init_group
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.distributed.nn import functional as differentiable
from torch.nn.parallel import DistributedDataParallel


def start(run_opts):
    """Joins the processes of torchrun; does nothing without torchrun.

    Arguments
    ---------
    run_opts : mapping
        SpeechBrain's run options; "distributed_backend" and "device" are read.

    Raises
    ------
    ValueError
        If the backend does not exist or does not fit the machine.
    """
    if "RANK" not in os.environ or "LOCAL_RANK" not in os.environ:
        return
    if run_opts["distributed_backend"] != "gloo":
        num_local = int(os.environ["LOCAL_WORLD_SIZE"])
        on_cpu = run_opts["device"] == "cpu"
        if on_cpu or num_local > torch.cuda.device_count():
            raise ValueError(
                f"--distributed_backend={run_opts['distributed_backend']}: expected a GPU for each "
                f"of the {num_local} processes, got "
                + ("--device=cpu" if on_cpu else f"{torch.cuda.device_count()} GPUs")
                + "; start fewer processes, or add --distributed_backend=gloo --device=cpu"
            )
    ddp_init_group(run_opts)


def world():
    """Returns this process's rank and the number of processes; (0, 1) without torchrun."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def leave(exit_code):
    """Ends this process's part in the group; after a failure the process ends at once.

    Without this the group's threads may abort a process that has done all its work, and an orderly
    end may wait for processes that wait for this one.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    if exit_code:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    dist.destroy_process_group()


def first_to_fail():
    """Returns whether no other process of this run has asked before: that one reports the error.

    The others fail alike, or because they lose the process they wait for.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return True
    address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        store = dist.TCPStore(
            *address, is_master=False, timeout=datetime.timedelta(seconds=10)
        )  # torchrun's own, which outlives the processes
        return store.add(f"failed/{os.environ['TORCHELASTIC_RESTART_COUNT']}", 1) == 1
    except dist.DistError:
        return True


def gather(rows, dim=0):
    """Returns the rows of all processes, in the order of their ranks, with gradient.

    Arguments
    ---------
    rows : torch.Tensor
        This process's rows; of the same shape on every process.
    dim : int
        The axis of the rows.

    Returns
    -------
    gathered : torch.Tensor
        Its gradient, summed over the processes, goes to the owner of each row.
    """
    if world()[1] == 1:
        return rows
    return torch.cat(differentiable.all_gather(rows), dim=dim)


def gather_objects(value):
    """Returns the values of all processes as a list, in the order of their ranks; no tensors."""
    values = [value]
    if world()[1] > 1:
        values = [None] * world()[1]
        dist.all_gather_object(values, value)
    return values


def share(modules, of_own_rows, compression=None):
    """Lets all processes train the weights of rank 0, with the statistics of the global batch.

    Arguments
    ---------
    modules : torch.nn.ModuleDict
        Changed in place.
    of_own_rows : collection of str
        The modules that see this process's rows alone. On a GPU their BatchNorm becomes torch's
        SyncBatchNorm, which computes on GPUs only, and on the CPU `GlobalBatchNorm`. What comes
        behind `gather` has the global batch as it is.
    compression : str, optional
        "fp16" or "bf16": what gradients are rounded to for the exchange, by torch's hook of that
        name. Masters and moments stay float32.

    Returns
    -------
    exchange : torch.nn.parallel.DistributedDataParallel or None
        To be called with the loss of every training step, which it returns; see `_Training`. None
        where no parameter is trained.
    """
    exchange = None
    if any(parameter.requires_grad for parameter in modules.parameters()):
        exchange = DistributedDataParallel(
            _Training(modules),
            broadcast_buffers=False,  # they are equal, as the batch they are computed from
            find_unused_parameters=True,
            gradient_as_bucket_view=True,
        )
        if compression:
            exchange.register_comm_hook(None, _COMPRESSIONS[compression])
    # The same parameters in other layers: DistributedDataParallel refuses SyncBatchNorm on the CPU.
    if of_own_rows:
        from timm.layers import convert_sync_batchnorm
    for name in of_own_rows:  # by timm, which knows its own layers too
        modules[name] = convert_sync_batchnorm(modules[name])
    for module in modules.modules():
        if isinstance(module, torch.nn.SyncBatchNorm) and _on_cpu(module):
            module.__class__ = _on_cpu_classes()[type(module)]
    return exchange


_COMPRESSIONS = {
    "fp16": default_hooks.fp16_compress_hook,
    "bf16": default_hooks.bf16_compress_hook,
}


class _Training(torch.nn.Module):
    """All modules of a training as the one that DistributedDataParallel wraps.

    It is called with the loss when the modules have computed it. From there
    DistributedDataParallel follows the graph to the parameters that take part in the step, and
    only there this is known: a term of weight zero is computed, but its parameters get no gradient.
    One wrapper for all modules also fills its buckets across them, and leaves the modules in their
    place, so that checkpoints have the names of one process.
    """

    def __init__(self, modules):
        super().__init__()
        self.parts = modules

    def forward(self, loss):
        """Returns the loss, a scalar."""
        return loss


def exchange_waiting(exchange):
    """Averages gradients that wait for a step whose last batch is skipped.

    Arguments
    ---------
    exchange : torch.nn.parallel.DistributedDataParallel or None
        From `share`; at least one parameter has a gradient.
    """
    if exchange is not None:
        waiting = next(value for value in exchange.parameters() if value.grad is not None)
        exchange(waiting.flatten()[:0].sum()).backward()  # a loss of 0, which adds nothing


def _on_cpu(module):
    tensors = [*module.parameters(), *module.buffers()]
    return all(tensor.device.type == "cpu" for tensor in tensors)


class GlobalBatchNorm(torch.nn.SyncBatchNorm):
    """torch's SyncBatchNorm on the CPU: in training, the statistics of all processes' rows.

    Every process normalises the gathered batch and keeps its own rows. That costs traffic and time
    that exchanged sums would not, but the result is one process's, bit for bit. Sums of another
    order differ in their last digits, and Adam turns those into whole steps wherever a gradient is
    next to zero.

    Example
    -------
    >>> GlobalBatchNorm(3)(torch.randn(4, 3)).shape
    torch.Size([4, 3])
    """

    def forward(self, x):
        """Returns x, shape (B, C, ...), normalised per channel C; B is that of all processes."""
        if not self.training or world()[1] == 1:
            return super().forward(x)
        momentum = self.momentum
        if self.track_running_stats:
            self.num_batches_tracked += 1
            if momentum is None:  # torch's sign for the mean over all batches
                momentum = 1 / int(self.num_batches_tracked)
        return _NormaliseGathered.apply(
            x, self.weight, self.bias, self.running_mean, self.running_var, momentum, self.eps
        )


class _NormaliseGathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, running_mean, running_var, momentum, eps):
        batch = _all_rows(x)
        normalised, mean, inverse_std = torch.native_batch_norm(
            batch, weight, bias, running_mean, running_var, True, momentum or 0.0, eps
        )
        ctx.save_for_backward(batch, weight, mean, inverse_std)
        ctx.eps = eps
        return _own_rows(normalised)

    @staticmethod
    def backward(ctx, grad):
        batch, weight, mean, inverse_std = ctx.saved_tensors
        wanted = [True, weight is not None, weight is not None]
        grad, *affine = torch.ops.aten.native_batch_norm_backward(
            _all_rows(grad), batch, weight, None, None, mean, inverse_std, True, ctx.eps, wanted
        )
        # Every row's gradient arrives summed over the processes, see `gather`. A process keeps its
        # own rows of it, but of the affine parameters, which belong to all, its share.
        affine = [value / world()[1] if weight is not None else None for value in affine]
        return _own_rows(grad), *affine, None, None, None, None


def _all_rows(x):
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world()[1])]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


def _own_rows(batch):
    rank, num_processes = world()
    return batch.chunk(num_processes)[rank].clone()


@functools.cache
def _on_cpu_classes():
    from timm.layers import SyncBatchNormAct

    class GlobalBatchNormAct(SyncBatchNormAct, GlobalBatchNorm):
        """timm's BatchNorm with an activation, which adds the latter to `GlobalBatchNorm`."""

    return {torch.nn.SyncBatchNorm: GlobalBatchNorm, SyncBatchNormAct: GlobalBatchNormAct}


class Dropout(torch.nn.Dropout):
    """Dropout whose mask is drawn for the global batch, of which a process keeps its own rows.

    The processes must have the same state of torch's random generator. In one process it is torch's
    Dropout.

    Example
    -------
    >>> Dropout(0.5).eval()(torch.ones(1, 2))
    tensor([[1., 1.]])
    """

    def forward(self, x):
        """Returns x, shape (B, ...), with entries dropped."""
        num_processes = world()[1]
        if not self.training or num_processes == 1:
            return super().forward(x)
        mask = super().forward(x.new_ones(num_processes * len(x), *x.shape[1:]))
        return x * _own_rows(mask)
