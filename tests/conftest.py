"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from smollm2_model import UnavailableError, make

# How long an example takes on a machine that others use says nothing of a law.
settings.register_profile("capo-bench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("capo-bench")

# What runs in the background of a shell ignores SIGINT, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# With Python's own threshold, the search for cycles among the objects of large packages takes a fifteenth of the suite.
gc.set_threshold(50_000)

_DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def benchmark_data() -> Path:
    """Folder of real benchmark files (CAPO_BENCH_DATA, by default ../shared/data beside the checkout), or skip."""
    folder = Path(os.environ.get("CAPO_BENCH_DATA") or _DEFAULT)
    if not folder.is_dir():
        pytest.skip(
            f"no benchmark files in {folder}; set CAPO_BENCH_DATA to a folder that holds math500/test.jsonl etc."
        )
    return folder


@pytest.fixture(scope="session")
def smollm2(pytestconfig: pytest.Config) -> Path:
    """Folder of a real language model, or skip: its first layers, with CAPO_BENCH_WHOLE_MODEL=1 all of it."""
    layers = None if os.environ.get("CAPO_BENCH_WHOLE_MODEL") else 3
    try:
        return make(pytestconfig.cache.mkdir("smollm2"), layers)
    except UnavailableError as error:
        if os.environ.get("CAPO_BENCH_EXPECT_MODEL"):
            pytest.fail(str(error))
        pytest.skip(str(error))
