"""Every version is pinned, once, and the pins are within the ranges that the project declares."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
OURS = {"capo_bench", "trainers", "evals", "ablations"}
OFFLINE = ("Failed to establish a new connection", "Temporary failure in name resolution", "dns error", "Connect error")
"""Parts of what pip and uv write where no index can be reached."""


@pytest.fixture(scope="module")
def pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def versions(pins) -> dict[str, str]:
    """The version of each package that is pinned."""
    return {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}


def test_each_package_has_one_exact_version_on_every_machine(pins, versions):
    assert len(versions) == len(pins) > 100
    assert {clause.operator for pin in pins for clause in pin.specifier} == {"=="}
    assert all(len(pin.specifier) == 1 and pin.marker is None for pin in pins)


def test_no_pin_names_a_build_that_only_some_index_has(versions):
    assert [name for name, version in versions.items() if "+" in version] == []


@pytest.mark.parametrize("extra", [None, "dev", "vllm", "ray", "postgres"])
def test_pins_are_within_the_declared_ranges(versions, project, extra):
    wanted = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    for requirement in map(Requirement, wanted):
        if requirement.name == project["name"]:  # other extras of its own
            assert requirement.extras <= set(project["optional-dependencies"])
            continue
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


def required(extra: str) -> set[str]:
    """Return the names of all that the project with an extra brings, by what the installed packages require."""
    todo, seen = [("capo-bench", frozenset({extra}))], set()
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
    return {name for name, _ in seen} - {"capo-bench"}


def test_what_is_installed_and_asked_for_is_pinned(versions):
    """Nothing is left to the day of the installation."""
    assert required("dev") - {*versions} == set()


def test_what_the_packages_import_comes_with_them():
    """Without the tools of development, and what an extra brings is imported by the parts that need it alone."""
    brought, extras = required(""), {"ray", "vllm"}
    for module, places in imported().items():
        names = {canonicalize_name(name) for name in packages_distributions().get(module, [])}
        assert names & brought or module in extras, (module, places)


def imported() -> dict[str, list[str]]:
    """Return the packages of others that ours import anywhere, and where."""
    places: dict[str, list[str]] = {}
    for path in (path for name in ("capo_bench", "trainers", "evals") for path in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for module in {name.partition(".")[0] for name in names} - OURS - sys.stdlib_module_names:
                places.setdefault(module, []).append(str(path.relative_to(ROOT)))
    return places


@pytest.fixture(scope="module")
def wanted(project) -> list[str]:
    """What the project and the extras of its users require."""
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *(line for name in extras if name != "dev" for line in extras[name])]


def resolve(*arguments, requirements="") -> None:
    """Run a resolver, or skip: nothing is installed, and of the files only what they say of themselves is read."""
    command = [sys.executable, "-m", *arguments, "-q", "-c", str(ROOT / "constraints.txt")]
    environment = {**os.environ, "PIP_RETRIES": "1", "UV_HTTP_RETRIES": "1"}
    done = subprocess.run(
        command, input=requirements, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    if any(sign in done.stderr for sign in OFFLINE):
        pytest.skip(f"no package index answers: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(version("pip") < "24", reason="an older pip downloads all that it resolves")
def test_pip_installs_every_extra_with_the_pins(wanted):
    resolve("pip", "install", "--dry-run", "--use-feature=fast-deps", *wanted)


@pytest.mark.skipif(find_spec("uv") is None, reason="uv is not installed")
def test_uv_installs_every_extra_with_the_pins(wanted):
    resolve("uv", "pip", "compile", "-", "--python-version", "3.11", requirements="\n".join(wanted))
