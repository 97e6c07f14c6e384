"""Which MLflow store, and how to open it: the user's if MLFLOW_TRACKING_URI is set, else one in the results folder."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.home import Home
from capo_bench.run.lock import wait_for_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Store:
    """A tracking store.

    Attributes:
        uri: Tracking URI.
        artifacts: Root of the artifacts; None: the server at `uri` decides.
        database: The SQLite file in the results folder; None: the store is not ours to make.
    """

    uri: str
    artifacts: Path | None = None
    database: Path | None = None

    @property
    def remote(self) -> bool:
        """Whether the store is a server, with pages of its own."""
        return self.uri.startswith(("http://", "https://", "databricks"))


def store_of(home: Home) -> Store:
    """Return the store that results in `home` are tracked in."""
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return Store(uri)
    database = home.tracking.absolute()
    return Store(f"sqlite:///{database}", home.artifacts.absolute(), database)


def quiet() -> None:
    """Keep MLflow in this process from telling anybody of its use; to be called before other threads start."""
    os.environ.update(quiet_environment())


def quiet_environment() -> dict[str, str]:
    """Return the environment variables under which MLflow tells nobody of its use."""
    return {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }


def open_client(store: Store) -> MlflowClient:
    """Import MLflow and open the store; a new one is made first, by one process at a time.

    Two processes that make one SQLite store at once leave a broken file.
    """
    quiet()
    from mlflow import MlflowClient

    # MLflow and Alembic tell of every table they make, over the progress display.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if store.database is None:
        return MlflowClient(tracking_uri=store.uri)
    with wait_for_lock(store.database.with_name("mlflow.lock"), stop=lambda: False, waiting=lambda: None):
        client = MlflowClient(tracking_uri=store.uri)
        client.search_experiments(max_results=1)
    return client


def server_environment() -> dict[str, str]:
    """Return the environment variables of a server that only shows: no job runners, no chatter."""
    return {**quiet_environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}


def server_command(store: Store, port: int) -> list[str]:
    """Return the command that serves MLflow's pages for a store on this machine alone."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning", "--backend-store-uri", store.uri]
    return command + (["--default-artifact-root", str(store.artifacts)] if store.artifacts else [])
