"""``capo-bench critic`` from the command line: results, files, exit codes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import capo_bench
from capo_bench.cli import main

TESTS = Path(__file__).parents[2]


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["critic", *map(str, args)], env={"COLUMNS": "100"})


def test_the_exact_critic_is_exact(tmp_path: Path) -> None:
    done = run("exact", "--data", "coins", "--limit", 40, "-k", 2, "--home", tmp_path)
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.stdout.splitlines() if line.strip().startswith(("greedy", "any rule"))]
    shares = [*["100.0", "[100.0,", "100.0]"] * 3, "0.0", "[0.0,", "0.0]"]  # no false alarms
    assert [row[-12:] for row in rows] == [shares] * 3  # greedy, of one, of two
    assert "40 solutions" in done.stdout
    assert "0 of 120 critiques without a verdict" in done.stdout
    page = Path(done.stdout.splitlines()[-1].removeprefix("report: "))
    assert page.is_file()
    assert json.loads((page.parent / "result.json").read_text(encoding="utf-8"))["alpha"]["value"] == 1


def test_the_noisy_critic_errs_at_its_rates(tmp_path: Path) -> None:
    done = run(
        "noisy", "--set", "miss=0.2", "--set", "false_alarm=0.1", "--data", "coins", "-k", 1, "--no-greedy",
        "--home", tmp_path,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    (folder,) = (tmp_path / "critics").iterdir()
    (row,) = (row for row in json.loads((folder / "result.json").read_text())["votes"] if row["rule"] == "majority")
    assert row["recall_low"] < 0.8 < row["recall_high"]
    assert row["false_alarm_low"] < 0.1 < row["false_alarm_high"]


def test_the_critic_of_a_shipped_study(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: mine\nquestion: Which?\nbaseline: a\nmetrics: [coins_test/accuracy]\n"
        "base: {critic: {name: noisy, miss: 0, false_alarm: 0}}\ninclude: [{name: a, set: {}}]\n",
        encoding="utf-8",
    )
    done = run(file, "--data", "coins:longer", "--limit", 8, "-k", 1, "--home", tmp_path)
    assert done.exit_code == 0, done.output
    assert "Critic noisy on coins" in done.stdout


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["nosy", "--data", "coins"], "nosy: no critic and no study 'nosy' (did you mean 'noisy'?)"),
        (["noisy", "--data", "coin"], "unknown data set with labelled steps 'coin' (did you mean 'coins'?)"),
        (["noisy", "--data", "coins:tst"], "--data coins: unknown subset 'tst' (did you mean 'test'?)"),
        (["noisy", "--data", "coins", "--set", "mis=1"], "--set mis=1: unknown key 'mis' (did you mean 'miss'?)"),
        (["noisy", "--data", "processbench"], "critic 'noisy' asks the benchmark's step checker"),
        (["noisy", "--data", "coins", "--data-dir", "x"], "--data-dir x: coins is drawn, not read"),
    ],
)
def test_bad_input_is_told_with_exit_code_2(args: list[str], told: str, tmp_path: Path) -> None:
    done = run(*args, "--home", tmp_path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(told)
    assert not (tmp_path / "critics").exists()


def test_a_home_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = run("noisy", "--data", "coins", "--limit", 4, "--home", tmp_path / "file" / "home")
    assert done.exit_code == 2
    assert f"{tmp_path / 'file'}" in done.stderr
    assert "Not a directory; free space, or name files and folders that can be read and written" in done.stderr


def test_a_key_that_cannot_be_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ключ")
    done = run(
        "openai", "--set", "model=m", "--set", "base_url=http://127.0.0.1:9/v1", "--data", "coins", "--home", tmp_path
    )
    assert done.exit_code == 2
    assert done.stderr.startswith("critic 'openai' cannot be opened: the environment variable OPENAI_API_KEY holds")


def test_an_endpoint_that_is_not_there_ends_with_exit_code_1(tmp_path: Path) -> None:
    done = run(
        "openai", "--set", "model=m", "--set", "base_url=http://127.0.0.1:9/v1", "--set", "max_retries=0",
        "--data", "coins", "--limit", 4, "-k", 2, "--home", tmp_path,
    )  # fmt: skip
    assert done.exit_code == 1, done.output
    assert "12 of 12 critiques have no verdict" in done.stderr
    assert "more than --max-abstained 0.5 allows" in done.stderr


def test_a_critic_is_served_for_the_measurement_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (TESTS, TESTS / "standin_vllm"):
        monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("STANDIN_VLLM", str(tmp_path / "started"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    serve = ("--set", "serve={gpus: 1}", "--data", "coins", "--limit", 4, "-k", 2, "--home", tmp_path)
    done = run("openai", "--set", "model=org/critic", *serve)
    assert done.exit_code == 0, done.output
    assert "the server of critic 'org/critic' is loading" in done.stderr
    assert "0 of 12 critiques without a verdict" in done.stdout
    started = json.loads((tmp_path / "started").read_text())
    assert started["gpus"] == "3"
    assert not Path(f"/proc/{started['pid']}").exists()
    broken = run("openai", "--set", "model=broken", *serve)
    assert broken.exit_code == 2
    assert "OSError: no such model" in broken.stderr


def test_ctrl_c_while_an_endpoint_hangs_ends_with_exit_code_130(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        command = [sys.executable, "-m", "capo_bench", "critic", "openai", "--set", "model=m", "--set"]
        command += [f"base_url={url}", "--data", "coins", "--limit", "4", "-k", "1", "--home", str(tmp_path)]
        env = {**os.environ, "PYTHONPATH": str(Path(capo_bench.__file__).parents[1])}
        asked = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
        server.settimeout(60)
        connection, _ = server.accept()
        asked.send_signal(signal.SIGINT)
        _, told = asked.communicate(timeout=30)
        connection.close()
    assert asked.returncode == 130
    assert "interrupted; the same command resumes with the stored critiques\n" in told
    assert "Traceback" not in told
    assert not (tmp_path / "critics").exists()


def test_help_shows_examples_and_exit_codes() -> None:
    text = run("--help").output
    assert "Exit codes:" in text
    assert "capo-bench critic noisy --data coins" in text
