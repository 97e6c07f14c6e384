"""Every command on a machine that is not well: a sentence, a documented exit code, and nothing half-written."""

from __future__ import annotations

import ctypes
import io
import os
import re
import resource
import select
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from capo_bench.cli import main
from evals.files import find_torn

sys.path.append(str(Path(__file__).parents[1]))

from fakehome import STUDY, FakeHome

PROFILE = "it's"
STUDIES = f'{STUDY}profiles: {{"{PROFILE}": {{seeds: [0]}}}}\n'

WORDS = {
    "ls": "ls",
    "init": "init OUT.yaml",
    "validate": "validate FILE",
    "plan": "plan fake --home HOME --profile PROFILE",
    "doctor": "doctor fake --home HOME --profile PROFILE",
    "run": "run FILE --home HOME --no-tracking",
    "status": "status fake --home HOME",
    "gc": "gc --home HOME --trial TRIAL --yes",
    "sync": "sync fake --home HOME",
    "report": "report fake --home HOME --profile PROFILE",
    "revote": "revote fake --home HOME --profile PROFILE",
    "credit": "credit fake --home HOME --samples 2 --no-gradients",
    "view": "view fake --home HOME --profile PROFILE",
    "critic": "critic noisy --data coins --home HOME --limit 8",
    "eval": "eval none/such --task coins_test --home HOME --no-tracking",
    "compare": "compare TRIAL OTHER --home HOME",
    "diff": "diff TRIAL OTHER --home HOME",
    "bundle": "bundle fake --home HOME --profile PROFILE --out OUT.tar.gz",
    "export": "export TRIAL --home HOME --out OUT",
    "verify": "verify fake --home HOME --profile PROFILE",
    "ui": "ui --home NONE",
}
CODES = {"credit": 2, "eval": 2, "compare": 2, "verify": 1, "ui": 2}
"""How those end on a machine that is well that do not end with 0: these trials have no weights, no MLflow store."""

HOME = dict.fromkeys(["run", "gc", "report", "revote", "view", "critic", "bundle"], 2)
CANNOT = {
    "read-only": {**HOME, "sync": 2, "doctor": 1},
    "full disk": {**HOME, "sync": 1, "init": 2, "export": 2},
}
"""How those end that have to write and cannot; all others end as ever."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def drop_privileges() -> None:
    """Have root, too, obey the modes of files: CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH and CAP_FOWNER go."""
    if os.geteuid():
        return
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None)
    assert libc.capget(header, data) == 0
    for place in range(3):  # effective, permitted, inheritable
        data[place] &= ~(1 << 1 | 1 << 2 | 1 << 3)
    assert libc.capset(header, data) == 0


def read_only(home: Path) -> None:
    drop_privileges()
    for path in (home, *home.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


def full_disk(home: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def few_files(home: Path) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def ascii_terminal(home: Path) -> None:
    os.environ |= {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "wb", closefd=False), "ascii", "strict", write_through=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "wb", closefd=False), "ascii", "backslashreplace", write_through=True)


def healthy(home: Path) -> None:
    pass


CONDITIONS: dict[str, Callable[[Path], None]] = {
    "healthy": healthy, "read-only": read_only, "full disk": full_disk, "64 files": few_files, "ascii": ascii_terminal,
    "closed pipe": healthy,
}  # fmt: skip


def call(words: list[str], condition: str, home: Path, folder: Path) -> Ended:
    """Run a command line in a child that has imported what this process has."""
    out, err = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.dup2(out[1], 1)
            os.dup2(err[1], 2)
            os.closerange(3, 4096)
            os.chdir(folder)
            sys.stdin = io.StringIO()
            sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            CONDITIONS[condition](home)
            sys.argv = ["capo-bench", *words]
            main(prog_name="capo-bench")
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            except OSError:
                pass
            os._exit(code)
    for end in (out[1], err[1]):
        os.close(end)
    if condition == "closed pipe":
        os.close(out[0])
    texts = _drain([end for end in (out[0], err[0]) if not (condition == "closed pipe" and end == out[0])])
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Ended(code, texts.get(out[0], ""), texts.get(err[0], ""))


def _drain(ends: list[int]) -> dict[int, str]:
    data = dict.fromkeys(ends, b"")
    left = [*ends]
    while left:
        for end in select.select(left, [], [])[0]:
            block = os.read(end, 65536)
            data[end] += block
            if not block:
                left.remove(end)
                os.close(end)
    return {end: text.decode("utf-8", "replace") for end, text in data.items()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> FakeHome:
    fake = FakeHome(tmp_path_factory.mktemp("damaged"), STUDIES).finish()
    file = fake.path / "study.yaml"
    for profile in ("quick", PROFILE):
        words = ["run", str(file), "--home", str(fake.home.path), "--profile", profile, "--no-tracking"]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
    return fake


def fill(words: str, fake: FakeHome, home: Path, folder: Path) -> list[str]:
    trials = [trial.id for trial in fake.plan().trials[:2]]
    places = {
        "HOME": str(home), "FILE": str(fake.path / "study.yaml"), "OUT": str(folder / "out"),
        "NONE": str(folder / "none"), "PROFILE": PROFILE, "TRIAL": trials[0], "OTHER": trials[1],
    }  # fmt: skip
    return [re.sub("|".join(places), lambda match: places[match[0]], word) for word in words.split()]


@pytest.mark.parametrize(
    "condition",
    [pytest.param(name, marks=[pytest.mark.nightly] * (name in {"64 files", "ascii"})) for name in CONDITIONS],
)
@pytest.mark.parametrize("command", WORDS)
def test_a_command_ends_with_a_sentence(finished: FakeHome, tmp_path: Path, command: str, condition: str) -> None:
    home, folder = tmp_path / "a ?b", tmp_path / "here"
    shutil.copytree(finished.home.path, home)
    folder.mkdir()
    ended = call(fill(WORDS[command], finished, home, folder), condition, home, folder)
    for path in (home, *home.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    usual = CODES.get(command, 0)
    assert "Traceback" not in ended.err, ended.err
    if condition == "closed pipe":
        assert ended.code in {1, usual}
        assert "pipe" not in ended.err
    elif command in CANNOT.get(condition, {}):
        assert ended.code == CANNOT[condition][command], ended
        if command != "doctor":
            assert re.search(r"File too large|Permission denied|disk I/O error", ended.err), ended.err
            assert re.search(r"; \w", ended.err), "no way out is named"
            assert not [path for path in folder.rglob("*") if path.is_file()]
    else:
        assert ended.code == usual, ended
    assert [*find_torn(tmp_path)] == []
