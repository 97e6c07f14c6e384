"""A small study, trained once for all tests of bundles."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from bundled import STUDY
from commands import capo_bench


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``tiny.tar.gz``, ``whole.tar.gz`` (with weights), ``half.tar.gz`` (one trial of two)."""
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "tiny.yaml").write_text(STUDY, encoding="utf-8")
    capo_bench(folder, "run", "tiny.yaml", "--home", "home", "--no-tracking", "--workers", "1")
    capo_bench(folder, "bundle", "tiny.yaml", "--home", "home")
    shutil.copytree(folder / "home", folder / "half")
    for path in (folder / "half" / "trials").iterdir():
        if json.loads((path / "config.json").read_text(encoding="utf-8"))["variant"] == "grpo_rule":
            shutil.rmtree(path)
    capo_bench(folder, "bundle", "tiny.yaml", "--home", "half", "--weights", "--out", "half.tar.gz")
    capo_bench(folder, "bundle", "tiny.yaml", "--home", "home", "--weights", "--out", "whole.tar.gz")
    return folder
