from pathlib import Path

import pytest
from stored import StoredHome


@pytest.fixture
def fresh(tmp_path: Path) -> StoredHome:
    """A results folder with nothing finished yet."""
    return StoredHome(tmp_path)


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> StoredHome:
    """A results folder with every trial finished; read only."""
    return StoredHome(tmp_path_factory.mktemp("stored")).finish()
