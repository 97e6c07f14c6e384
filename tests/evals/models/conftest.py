"""What the tests of models share."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from chat_server import serving


@pytest.fixture
def serve():
    """Return a function that runs a server until the end of the test."""
    with ExitStack() as running:
        yield lambda server: running.enter_context(serving(server))
