import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from postgres import free_port

from capo_bench.store.errors import RunError
from capo_bench.store.home import Home
from capo_bench.track.server import serve
from capo_bench.track.store import Store, build_server_command, store_of

ROOT = Path(__file__).parents[3]


def processes_of(session):
    """Numbers of the processes whose session is `session`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(path.parent.name)
    return found


def test_the_store_is_the_users_if_there_is_one(home, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    own = store_of(home)
    lock = home.tracking.with_name("mlflow.lock")
    assert own == Store(f"sqlite:///{home.tracking}", home.artifacts, home.tracking, lock)
    assert build_server_command(own, 5001)[-2:] == ["--default-artifact-root", str(home.artifacts)]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example")
    assert (store_of(home), store_of(home).remote) == (Store("https://mlflow.example"), True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://u:p@127.0.0.1/runs")
    assert store_of(home) == Store("postgresql+psycopg2://u:p@127.0.0.1/runs", home.artifacts, lock=lock)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg://u:p@127.0.0.1/runs")
    assert store_of(home).uri == "postgresql+psycopg://u:p@127.0.0.1/runs"


def test_a_home_without_a_store_is_told_with_the_way_out(home, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(RunError, match=r"mlflow.db: nothing is tracked here yet; run a study first"):
        serve(store_of(home), 5001, ready=print)


def test_a_port_that_is_taken_is_told_before_anything_starts(store):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RunError, match=f"port {port} is taken"):
            serve(store, port, ready=print)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGKILL, -9)])
def test_the_ui_answers_and_ends_with_all_it_started(store, until, number, code):
    port, home = free_port(), Home(store.database.parent)
    env = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-m", "capo_bench", "ui", "--home", str(home.path), "--port", str(port)]
    ui = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    try:
        line = ui.stdout.readline()
        assert line == f"{store.uri} at http://127.0.0.1:{port} (Ctrl-C ends it)\n"
        children = Path(f"/proc/{ui.pid}/task/{ui.pid}/children").read_text().split()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
            assert answer.status == 200
        assert processes_of(int(children[0]))
        ui.send_signal(number)
        assert ui.wait(20) == code
        until(lambda: not processes_of(int(children[0])))
    finally:
        ui.kill()
        ui.wait()
        ui.stdout.close()


def ui(*arguments, **environment):
    env = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"} | environment
    command = [sys.executable, "-m", "capo_bench", "ui", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_a_tracking_server_of_the_users_is_named_without_its_password():
    shown = ui(MLFLOW_TRACKING_URI="https://me:secret@mlflow.example/x")
    assert shown.stdout == "MLFLOW_TRACKING_URI names a server; open it at https://***@mlflow.example/x\n"
    assert shown.returncode == 0


def test_the_command_tells_of_an_empty_home_with_exit_code_2(home):
    shown = ui("--home", home.path)
    assert shown.returncode == 2
    assert shown.stderr == f"{home.tracking}: nothing is tracked here yet; run a study first, or set --home\n"
