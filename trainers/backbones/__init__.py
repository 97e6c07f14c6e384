"""The models that are trained, one YAML each."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import yaml

from evals.registry import UnknownNameError, did_you_mean
from trainers.backbones.config import (
    BackboneConfig,
    DeepSpeedConfig,
    FsdpConfig,
    LoraSettings,
    Planned,
    VllmRollouts,
)

__all__ = [
    "BACKBONES",
    "FOLDER",
    "OWN_FOLDER",
    "BackboneConfig",
    "DeepSpeedConfig",
    "FsdpConfig",
    "LoraSettings",
    "Planned",
    "VllmRollouts",
]

FOLDER = Path(__file__).parent
OWN_FOLDER = "CAPO_BENCH_BACKBONES"
"""Environment variable that names a folder of the user's own backbones."""


class _Backbones:
    kind = "backbone"

    def names(self) -> list[str]:
        return sorted(self._files())

    def check(self, name: str) -> str:
        """Return ``name`` if there is a backbone of that name, or raise `UnknownNameError`."""
        if name not in self.names():
            names = ", ".join(self.names())
            way_out = f"; your own are the YAML files of the folder that {OWN_FOLDER} names"
            raise UnknownNameError(
                f"unknown backbone {name!r}{did_you_mean(name, self.names())}; known: {names}{way_out}"
            )
        return name

    def path(self, name: str) -> Path:
        """Return the backbone's YAML: the user's own, or one that ships here.

        Raises:
            ValueError: There are both.
        """
        return self._files()[self.check(name)]

    def _files(self) -> dict[str, Path]:
        shipped = {path.stem: path for path in FOLDER.glob("*.yaml")}
        folder = os.environ.get(OWN_FOLDER)
        own = {path.stem: path for path in Path(folder).glob("*.yaml")} if folder else {}
        if both := sorted(shipped.keys() & own.keys()):
            raise ValueError(f"{own[both[0]]}: a backbone {both[0]!r} ships with capo-bench; rename yours")
        return {**shipped, **own}

    def load(self, name: str) -> BackboneConfig:
        """Read the backbone's YAML."""
        path = self.path(name)
        return _read(path, path.stat().st_mtime_ns)


@cache
def _read(path: Path, changed: int) -> BackboneConfig:
    """Read a file once, and again when it was written since: a plan asks for the same backbone hundreds of times."""
    return BackboneConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


BACKBONES = _Backbones()
