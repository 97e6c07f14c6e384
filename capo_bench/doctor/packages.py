"""Packages: those that capo-bench requires, in versions that fit, and those that a study asks for."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterator

from capo_bench.doctor.needs import Finding, Needs

_INSTALL = {"vllm": "pip install 'capo-bench[vllm]'", "deepspeed": "pip install deepspeed"}


def packages(needs: Needs) -> Iterator[Finding]:
    """Yield whether what capo-bench requires is installed as required, then what this study asks for beside it."""
    wrong = [trouble for trouble in map(_trouble, _required()) if trouble]
    if wrong:
        remedy = "install with the versions that are tested: pip install -c constraints.txt -e ."
        yield Finding("packages", "missing", "; ".join(wrong), remedy)
    else:
        yield Finding("packages", "ok", f"all {len(_required())} that capo-bench requires, in versions that fit")
    for name, why in needs.extras.items():
        there = importlib.util.find_spec(name) is not None
        trouble = f"{'installed' if there else 'not installed'}; asked for by {why}"
        yield Finding(f"package {name}", "ok" if there else "missing", trouble, "" if there else _INSTALL[name])


def _required() -> list[str]:
    try:
        listed = importlib.metadata.requires("capo-bench") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [requirement for requirement in listed if "extra ==" not in requirement]


def _trouble(requirement: str) -> str:
    """Return what is wrong with a requirement, or an empty text."""
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    if wanted.marker is not None and not wanted.marker.evaluate():
        return ""
    try:
        version = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{wanted.name} is not installed"
    fits = wanted.specifier.contains(version, prereleases=True)
    return "" if fits else f"{wanted.name} is {version} where {wanted.specifier} is required"
