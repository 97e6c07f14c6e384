"""Threads of PyTorch on a CPU, and the one race in it that changes results."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trainers.backbones import BACKBONES

if TYPE_CHECKING:
    from capo_bench.study.plan import Trial

EMBEDDED_THREADS = 1
"""Threads of all that trains or asks an embedded model: their number decides the order of sums, and with it bits."""

UNARY = (
    "acos", "asin", "atan", "ceil", "cos", "erf", "erfc", "erfinv", "exp", "expm1", "floor", "lgamma", "log", "log10",
    "log1p", "log2", "round", "rsqrt", "sin", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip
"""Functions of one array that PyTorch may leave to MKL's vector mathematics."""


def fix_threads(trial: Trial) -> None:
    """Fix the number of threads of an embedded backbone; a larger one keeps what the worker was given."""
    if BACKBONES.load(trial.config.backbone).source == "embedded":
        set_threads(EMBEDDED_THREADS)
    else:
        settle_kernels()


def set_threads(count: int) -> None:
    """Fix the number of threads: it decides the order of sums, and with it bits."""
    import torch

    settle_kernels()
    torch.set_num_threads(count)


def settle_kernels() -> None:
    """Call every function of MKL's vector mathematics once, on one number.

    MKL picks a function's kernel at its first call. Where several threads make that call at the same time, one of them
    may run a kernel of low accuracy, that once (pytorch/pytorch#188792; MKL 2024.2, which PyTorch's wheels hold): a
    cold start made by two threads came out in other bits now and then.
    """
    import torch

    for precision in (torch.float32, torch.float64):
        number = torch.full((1,), 0.5, dtype=precision)
        for name in UNARY:
            function: Callable[[torch.Tensor], Any] = getattr(torch, name)
            function(number)
