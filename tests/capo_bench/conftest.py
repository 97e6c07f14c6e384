from pathlib import Path

import pytest
from fakehome import FakeHome

from capo_bench.pages.report import Report, build_report


@pytest.fixture
def fake(tmp_path: Path) -> FakeHome:
    """A results folder with nothing finished yet."""
    return FakeHome(tmp_path)


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> FakeHome:
    """A results folder with every trial finished; read only."""
    return FakeHome(tmp_path_factory.mktemp("full")).finish()


@pytest.fixture(scope="session")
def report(full: FakeHome) -> Report:
    """The report of the full results."""
    return build_report(full.plan(), full.home)
