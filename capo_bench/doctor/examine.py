"""All checks of a plan; those that wait for a network are made side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from capo_bench.doctor import disk, machine, network
from capo_bench.doctor.conventions import check_conventions
from capo_bench.doctor.finding import Finding
from capo_bench.doctor.needs import needs_of
from capo_bench.doctor.packages import packages
from capo_bench.study.plan import Plan


def examine(plan: Plan, home: Path, *, min_free: int, workers: int | None = None) -> list[Finding]:
    """Look at everything that the plan's trials need.

    Args:
        plan: The trials.
        home: The results folder, which need not exist.
        min_free: Bytes of its disk that stay free.
        workers: Trials at a time; None: as many as `capo-bench run` takes unless told.

    Returns:
        The findings, the machine's first.
    """
    needs = needs_of(plan)
    with ThreadPoolExecutor(16) as others:
        waiting = [others.submit(check) for check in network.checks(needs)]
        findings = [
            *machine.gpus(needs),
            machine.host_memory(needs, workers),
            *disk.disks(needs, home, min_free),
            disk.file_clock(home),
            *packages(needs),
            network.loopback(),
            *check_conventions(needs),
        ]
        return findings + [finding for check in waiting for finding in check.result()]
