"""Choose and open the MLflow store: MLFLOW_TRACKING_URI if it is set, else a database in the results folder."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.store.home import Home
from capo_bench.store.lock import wait_for_lock
from capo_bench.track.redact import redact

if TYPE_CHECKING:
    from mlflow import MlflowClient

# The writer retries failed calls itself, after checking what the store contains. MLflow's own retries would block it
# for minutes, and would create a run twice if the confirmation of its creation was lost.
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "PGCONNECT_TIMEOUT": "10"}
LOCK_SECONDS = 60.0


class StoreError(Exception):
    """The store cannot be used; the message gives the reason and the way out."""


@dataclass(frozen=True)
class Store:
    """A tracking store.

    Attributes:
        uri: Tracking URI.
        artifacts: Root of the artifacts; None: the server at `uri` decides.
        database: The SQLite file in the results folder; None: the user set another store.
        lock: File that is locked while the tables of a database are created; None for a server, which handles this
            itself.
    """

    uri: str
    artifacts: Path | None = None
    database: Path | None = None
    lock: Path | None = None

    @property
    def remote(self) -> bool:
        """Whether the store is a server with its own pages."""
        return self.uri.startswith(("http://", "https://", "databricks"))


def store_of(home: Home) -> Store:
    """Return the tracking store for results in `home`."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri and Store(uri).remote:
        return Store(uri)
    artifacts, lock = home.artifacts.absolute(), home.tracking.absolute().with_name("mlflow.lock")
    if uri:
        # SQLAlchemy 2.1 changed the driver of a bare name, so the driver that the extra installs is named here.
        return Store(re.sub(r"^postgresql(?=://)", "postgresql+psycopg2", uri), artifacts, lock=lock)
    database = home.tracking.absolute()
    return Store(f"sqlite:///{database}", artifacts, database, lock)


def silence_mlflow() -> None:
    """Disable MLflow's telemetry in this process, and shorten its timeouts.

    Call it before other threads start. Timeouts that the user set in the environment are kept.
    """
    os.environ.update(build_quiet_environment())
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)


def build_quiet_environment() -> dict[str, str]:
    """Return environment variables that disable MLflow's telemetry and messages, and asynchronous writing of traces.

    They also disable the MLflow integration of Transformers and TRL: only the runner logs.
    """
    return {
        "DISABLE_MLFLOW_INTEGRATION": "TRUE",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
    }


def open_client(store: Store) -> MlflowClient:
    """Import MLflow and open the store; a new database is created first, by one process at a time.

    Two processes that create the same database at the same time would damage it.

    Raises:
        StoreError: The database's driver is not installed.
        TimeoutError: Another process held the lock for `LOCK_SECONDS`.
        Exception: Any other error of MLflow or the database; the message may contain a password.
    """
    silence_mlflow()
    from mlflow import MlflowClient

    # MLflow and Alembic log every created table and every failure, which would disturb the progress display.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if store.remote:
        return MlflowClient(tracking_uri=store.uri)
    end = time.monotonic() + LOCK_SECONDS
    lock = wait_for_lock(store.lock, lambda: time.monotonic() > end, lambda: None) if store.lock else nullcontext(True)
    with lock as held:
        if not held:
            made = "the tracking store is being made by another process"
            raise TimeoutError(f"{store.lock}: {made} for more than {LOCK_SECONDS:.0f} s")
        _knock(store.uri)
        client = MlflowClient(tracking_uri=store.uri)
        client.search_experiments(max_results=1)
    _relocate(store)
    return client


def describe_failure(store: Store, error: Exception | str) -> str:
    """Return why a store could not be written, as one line without secrets; with the way out if it is damaged."""
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}".strip()
    line = redact(f"{store.uri}: {text.splitlines()[0]}")[:300]
    if store.database is None or not _DAMAGE.search(text):
        return line
    return f"{line}; move {store.database} away: capo-bench sync writes its studies anew, capo-bench eval an evaluation"


_DAMAGE = re.compile("not a database|malformed|no such table|no such column")
"""SQLite's messages for a file that is damaged or not a database of MLflow."""


def _knock(uri: str) -> None:
    """Connect to a database once: MLflow itself retries for minutes, and reports a missing driver unclearly."""
    from sqlalchemy import create_engine, inspect

    try:
        engine = create_engine(uri)
    except ModuleNotFoundError as error:
        extra = "'capo-bench[postgres]'" if uri.startswith("postgres") else error.name
        raise StoreError(f"{redact(uri)}: {error.name} is not installed; run: pip install {extra}") from error
    if engine.url.database and engine.dialect.name == "sqlite":
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    try:
        with engine.connect() as connection:
            inspect(connection).get_table_names()
    finally:
        engine.dispose()


# Table and column of each place where MLflow stores the location of artifacts.
_PLACES = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "trace_tags": "value",
}


def _relocate(store: Store) -> None:
    """Update the artifact locations in the results folder's store if the folder was moved or copied."""
    if store.database is None or store.artifacts is None or not store.database.exists():
        return
    from sqlalchemy import create_engine, text

    engine, here = create_engine(store.uri), store.artifacts.as_uri()
    try:
        with engine.begin() as connection:
            places = connection.execute(text("SELECT artifact_location FROM experiments")).scalars()
            roots = {place.rpartition(f"/{store.artifacts.name}/")[0] for place in places if place}
            for root in {f"{root}/{store.artifacts.name}" for root in roots if root} - {here}:
                for table, column in _PLACES.items():
                    moved = f"UPDATE {table} SET {column} = :here || substr({column}, :length + 1) "  # noqa: S608
                    query = text(f"{moved} WHERE substr({column}, 1, :length + 1) = :root || '/'")
                    connection.execute(query, {"here": here, "root": root, "length": len(root)})
    finally:
        engine.dispose()


def build_server_environment(store: Store) -> dict[str, str]:
    """Return the environment variables of a server that only shows results: no job runners, no log messages.

    The store's URI is passed this way too, because all users of the machine can read a process's arguments.
    """
    return {
        **build_quiet_environment(),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONWARNINGS": "ignore",
        "MLFLOW_BACKEND_STORE_URI": store.uri,
    }


def build_server_command(store: Store, port: int) -> list[str]:
    """Return the command that serves MLflow's pages for a store, reachable only from this machine."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning"]
    return command + (["--default-artifact-root", str(store.artifacts)] if store.artifacts else [])
