"""Run all checks of a plan; checks that use the network run in parallel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from capo_bench.doctor import disk, machine, network
from capo_bench.doctor.needs import Finding, collect_needs
from capo_bench.doctor.packages import check_conventions, check_packages
from capo_bench.study.plan import Plan


def examine(plan: Plan, home: Path, *, min_free: int, workers: int | None = None) -> list[Finding]:
    """Check everything that the plan's trials need; return the findings, starting with those on the machine.

    `min_free` bytes of the disk stay free. `workers` is the number of parallel trials; None: the default of `capo-bench
    run`.
    """
    needs = collect_needs(plan)
    with ThreadPoolExecutor(16) as others:
        waiting = [others.submit(network.check_hub_item, item) for item in needs.hub]
        waiting += [others.submit(network.check_rollout_server, server) for server in needs.servers]
        critics = [others.submit(network.check_endpoint, params) for params in needs.endpoints]
        findings = [
            *machine.check_gpus(needs),
            machine.host_memory(needs, workers),
            *disk.check_disks(needs, home, min_free),
            disk.check_file_clock(home),
            *check_packages(needs),
            network.check_loopback(),
            *check_conventions(needs),
        ]
        findings += [check.result() for check in waiting]
        return findings + [finding for check in critics for finding in check.result()]
