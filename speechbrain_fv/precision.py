"""Products of float32 in float32, where SpeechBrain lets a GPU round what it multiplies."""

import contextlib

import torch


@contextlib.contextmanager
def full_float32(device_type):
    """Products of float32 are float32 inside: no autocast, no TensorFloat-32.

    SpeechBrain switches TensorFloat-32 on for every product on a GPU. Its 10 bits, those of half
    precision, misplace points between two clusters, leave distances of near points to rounding, and
    count exactly to 2,048 only.

    Arguments
    ---------
    device_type : str
        ``cpu`` or ``cuda``.

    Example
    -------
    >>> with torch.autocast("cpu", torch.bfloat16), full_float32("cpu"):
    ...     (torch.eye(2) @ torch.eye(2)).dtype
    torch.float32
    """
    precision = torch.get_float32_matmul_precision()
    of_cpu = getattr(torch.backends.mkldnn, "matmul", None)  # from torch 2.9 on
    before = getattr(of_cpu, "fp32_precision", None)
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
        if before is not None:  # SpeechBrain's switch does not reach the CPU, torch's does
            of_cpu.fp32_precision = before
