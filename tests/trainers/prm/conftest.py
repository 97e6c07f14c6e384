"""Folders of process reward models, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tinyprms import write_qwen, write_taught


@pytest.fixture(scope="session")
def taught_prm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prm")
    write_taught(folder)
    return folder


@pytest.fixture(scope="session")
def qwen_prm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qwen")
    write_qwen(folder)
    return folder
