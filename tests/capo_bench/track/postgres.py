"""A PostgreSQL of our own in a temporary folder, on 127.0.0.1, that can be killed and started again."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

BINARIES = next(
    (path for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True) if (path / "initdb").exists()),
    Path(shutil.which("initdb") or "/nowhere/initdb").parent,
)
PASSWORD = "s3cr3t-word"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def user():
    """PostgreSQL refuses to run as root: whose it is then."""
    names = [entry.pw_name for entry in pwd.getpwall()]
    return None if os.getuid() else "postgres" if "postgres" in names else "nobody"


class Postgres:
    """One cluster with one database; its `uri` is what `MLFLOW_TRACKING_URI` takes."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self.port, self.process = free_port(), None
        self.uri = f"postgresql://capo:{PASSWORD}@127.0.0.1:{self.port}/postgres"
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if user():
            shutil.chown(self.folder, user())
            shutil.chown(password, user())
        options = ["-U", "capo", "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync", "-E", "UTF8"]
        command = [BINARIES / "initdb", "-D", self.folder / "data", *options]
        subprocess.run(command, user=user(), cwd="/", check=True, capture_output=True)

    def start(self):
        options = {"fsync": "off", "listen_addresses": "127.0.0.1", "port": self.port}
        options |= {"unix_socket_directories": self.folder}
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [BINARIES / "postgres", "-D", self.folder / "data", *settings],
                user=user(), cwd="/", stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        ready = [BINARIES / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        end = time.monotonic() + 30
        while subprocess.run(ready, check=False).returncode:
            assert time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.05)

    def kill(self):
        """End all its processes at once, as a machine that loses power does."""
        if self.process:
            # Each of them leads no group: the one that started them is told first, the others by theirs.
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            for pid in (self.process.pid, *map(int, children)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def close(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
