"""Every version is pinned, once, and the pins are within the ranges that the project declares."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
INTEL_LINUX = {"sys_platform": "linux", "platform_machine": "x86_64"}
ELSEWHERE = {"sys_platform": "darwin", "platform_machine": "arm64"}


@pytest.fixture(scope="module")
def pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pinned(pins, machine) -> dict[str, str]:
    """Return the version of each package that is pinned on a machine."""
    found = {}
    for pin in pins:
        if pin.marker is None or pin.marker.evaluate(machine):
            (clause,) = pin.specifier
            assert clause.operator == "==", pin
            assert canonicalize_name(pin.name) not in found, f"{pin.name} is pinned twice"
            found[canonicalize_name(pin.name)] = clause.version
    return found


@pytest.mark.parametrize("machine", [INTEL_LINUX, ELSEWHERE], ids=["x86-64 Linux", "elsewhere"])
def test_each_package_has_one_exact_version(pins, machine):
    assert len(pinned(pins, machine)) > 100


def test_torch_is_the_cpu_build_where_the_plain_one_brings_cuda(pins):
    assert pinned(pins, INTEL_LINUX)["torch"] == pinned(pins, ELSEWHERE)["torch"] + "+cpu"


@pytest.mark.parametrize("extra", [None, "dev", "vllm", "ray", "postgres"])
def test_pins_are_within_the_declared_ranges(pins, project, extra):
    versions = pinned(pins, ELSEWHERE)
    wanted = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    for requirement in map(Requirement, wanted):
        if requirement.name == project["name"]:  # other extras of its own
            assert requirement.extras <= set(project["optional-dependencies"])
            continue
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


def test_what_is_installed_and_asked_for_is_pinned(pins):
    """Follows the installed packages' own requirements, so that none is left to the day of the installation."""
    versions = pinned(pins, INTEL_LINUX)
    todo, seen = [("capo-bench", frozenset({"dev"}))], set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            requirements = distribution(name).requires or []
        except PackageNotFoundError:
            if name == "capo-bench":
                pytest.skip("the project is not installed: python -m pip install -e '.[dev]'")
            continue
        for requirement in map(Requirement, requirements):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in (extras or {""})):
                todo.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    unpinned = {name for name, _ in seen} - {"capo-bench"} - {*versions}
    assert unpinned == set()
