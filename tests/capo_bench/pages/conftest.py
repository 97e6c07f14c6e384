import os
import shutil

import pytest
from viewing import SeenHome, hostile


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> SeenHome:
    """A results folder with a rollout of each kind; read only."""
    return SeenHome(tmp_path_factory.mktemp("seen"))


@pytest.fixture(scope="session")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> SeenHome:
    """A results folder whose models wrote hostile text; read only."""
    return SeenHome(tmp_path_factory.mktemp("attacked"), hostile)


@pytest.fixture(scope="module")
def browser():
    """A real browser, from the system, with a profile of its own.

    Of the module, not of the session: Playwright's event loop runs until it is closed, and other tests
    start their own.
    """
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        message = "no chromium on this machine: apt-get install chromium"
        if os.environ.get("CAPO_BENCH_EXPECT_BROWSER"):
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    quiet = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
    own = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=[*quiet, "--disable-sync", *own])
        yield found
        found.close()
