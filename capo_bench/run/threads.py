"""Set PyTorch's threads on a CPU, and avoid a race in MKL that changes results."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trainers.backbones import BACKBONES

if TYPE_CHECKING:
    from capo_bench.study.plan import Trial

EMBEDDED_THREADS = 1
"""Threads for embedded models: their number determines the order of summation, and with it the exact results."""

UNARY = (
    "acos", "asin", "atan", "ceil", "cos", "erf", "erfc", "erfinv", "exp", "expm1", "floor", "lgamma", "log", "log10",
    "log1p", "log2", "round", "rsqrt", "sin", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip
"""Elementwise functions that PyTorch may compute with MKL's vector mathematics."""


def fix_threads(trial: Trial) -> None:
    """Set a fixed number of threads for an embedded backbone; a larger backbone keeps the worker's number."""
    if BACKBONES.load(trial.config.backbone).source == "embedded":
        set_threads(EMBEDDED_THREADS)
    else:
        settle_kernels()


def set_threads(count: int) -> None:
    """Set the number of threads, which determines the order of summation and with it the exact results."""
    import torch

    settle_kernels()
    torch.set_num_threads(count)


def settle_kernels() -> None:
    """Call every function of MKL's vector mathematics once, with a single number.

    MKL selects a function's kernel at the first call. If several threads make that call at the same time, one of them
    may run a kernel of low accuracy for that call (pytorch/pytorch#188792; MKL 2024.2, which PyTorch's wheels contain).
    Because of this race, cold starts trained with two threads sometimes differed.
    """
    import torch

    for precision in (torch.float32, torch.float64):
        number = torch.full((1,), 0.5, dtype=precision)
        for name in UNARY:
            function: Callable[[torch.Tensor], Any] = getattr(torch, name)
            function(number)
