"""A server that repeats the key in every field of its replies: the key reaches no byte that is kept, shown or sent."""

from __future__ import annotations

import gzip
import html
import io
import itertools
import json
import os
import secrets
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from chat_server import MODEL, ChatServer, Handler, serving
from click.testing import CliRunner

from capo_bench.cli import main
from capo_bench.track.redact import redact
from evals.models.spec import ModelSpec

KEY = f'zz-{secrets.token_hex(8)}/is+a "key"'
NAME = "MY_CRED"
FORMS = {KEY, json.dumps(KEY)[1:-1], html.escape(KEY), quote(KEY), quote(KEY, safe=""), KEY.split("/", maxsplit=1)[0]}


class Repeat(Handler):
    """Repeats the key in the status line and in headers, too."""

    def send_response(self, code: int, message: str | None = None) -> None:
        super().send_response(code, KEY)
        for name in ("X-Request-Id", "Server-Timing", "Retry-After", "Set-Cookie"):
            self.send_header(name, KEY)
        if 300 <= code < 400:
            self.send_header("Location", f"{self.server.url}/{quote(KEY)}?key={quote(KEY)}")

    def send(self, status: int, reply: Any) -> None:
        if not isinstance(reply, bytes):
            super().send(status, reply)
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)


def whole(**fields: Any) -> dict[str, Any]:
    """Return a reply that has the key wherever there is room for text, escaped in one way or another."""
    message = {"role": "assistant", "content": f"{KEY} \\boxed{{1}}\nWrong steps: [] {json.dumps(KEY)}", KEY: KEY}
    message |= {"reasoning_content": KEY, "reasoning": KEY, "name": KEY, "tool_calls": [{"id": KEY}]}
    choice = {"index": 0, "finish_reason": "stop", "message": message, "logprobs": {KEY: KEY}, KEY: KEY}
    usage = {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6, KEY: KEY}
    names = ("id", "object", "model", "created", "system_fingerprint", "service_tier", "error", KEY)
    return {**dict.fromkeys(names, KEY), "choices": [{**choice, **fields}], "usage": usage}


REFUSAL = {"error": {"message": f"no: {KEY} {json.dumps(KEY)}", "type": KEY, "code": KEY, "param": KEY}}
REPLIES: dict[str, tuple[int, Any]] = {
    "every field": (200, whole()),
    "the reason of an end": (200, whole(finish_reason=KEY)),
    "an end by a filter": (200, whole(finish_reason="content_filter")),
    "a refusal": (200, whole(message={"content": None, "refusal": f"I may not say {KEY}"})),
    "counts of tokens": (200, {**whole(), "usage": {"prompt_tokens": KEY, "completion_tokens": KEY}}),
    "no choices": (200, {"choices": KEY}),
    "no message": (200, whole(message=KEY)),
    "no JSON": (200, f"data: {KEY}".encode()),
    **{f"status {status}": (status, REFUSAL) for status in (307, 400, 401, 404, 429, 500)},
    "a status without JSON": (502, f"<html>{KEY}</html>".encode()),
}
"""Status and body of a reply."""


class Repeating(ChatServer):  # type: ignore[misc]
    """Gives all replies of a table, one after another."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.RequestHandlerClass = Repeat
        self.replies = itertools.cycle([REPLIES[name] for name in names])

    def answer(self, body: Any, key: Any) -> Any:
        with self.lock:
            return next(self.replies)


def contents(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what a file holds, as it is and as it reads unpacked, by its place."""
    yield name, data
    if data[:2] == b"\x1f\x8b":
        yield from contents(f"{name} (gzip)", gzip.decompress(data))
    elif data[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                yield from contents(f"{name}: {member.name}", tar.extractfile(member).read())  # type: ignore[union-attr]
    elif data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                yield from contents(f"{name}: {member}", archive.read(member))


def rows(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield all values of a database, unpacked."""
    with closing(sqlite3.connect(path)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                for value in filter(None, row):
                    data = value if isinstance(value, bytes) else str(value).encode()
                    yield f"{path}: {table}", zlib.decompress(data) if data[:1] == b"\x78" else data


def places_of_the_key(folder: Path) -> list[str]:
    """Return where the key stands below a folder, however it is packed or escaped."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        pieces = [*contents(str(path), path.read_bytes())]
        if pieces[0][1].startswith(b"SQLite format 3"):
            pieces += rows(path)
        found += [place for place, data in pieces for form in FORMS if form.encode() in data]
    return found


def test_the_search_finds_a_key_wherever_it_is_packed(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text(json.dumps(KEY))
    with tarfile.open(tmp_path / "packed.tar.gz", "w:gz") as tar:
        (tmp_path / "inner").write_bytes(gzip.compress(KEY.encode()))
        tar.add(tmp_path / "inner", "inner")
    with closing(sqlite3.connect(tmp_path / "kept.sqlite")) as connection:
        connection.execute("CREATE TABLE kept (record)")
        connection.execute("INSERT INTO kept VALUES (?)", [zlib.compress(KEY.encode())])
        connection.commit()
    found = {Path(place.partition(" (")[0].partition(": ")[0]).name for place in places_of_the_key(tmp_path)}
    assert found == {"plain", "packed.tar.gz", "inner", "kept.sqlite"}


STUDY = """
name: repeating
question: Does a key leave the process that sends it?
baseline: asked
metrics: [coins_test/accuracy]
base:
  method: capo
  cold_start: {steps: 2, problems_per_step: 8}
  train: {steps: 2, prompts_per_step: 2, group_size: 4, max_completion_tokens: 24}
  critic: {name: openai, model: critic-1, base_url: URL, api_key_env: MY_CRED, max_retries: 0, breaker: {failures: 99}}
  credit: {critiques: 2, max_abstained: 1.0}
  evaluation: {tasks: [coins_test], problems: 2, max_completion_tokens: 24}
include:
  - {name: asked, set: {credit.vote: majority}}
seeds: [0]
"""


@pytest.mark.slow
def test_no_byte_of_a_run_and_of_what_is_made_of_it_holds_a_key(tmp_path: Path) -> None:
    def invoke(*words: str, expect: int = 0) -> None:
        result = CliRunner().invoke(main, [*words, "--home", str(home)], env=environment)
        assert result.exit_code == expect, result.output
        (tmp_path / f"{words[0]}.out").write_text(result.output)

    home, study, environment = tmp_path / "home", tmp_path / "study.yaml", {NAME: KEY}
    with serving(Repeating(*REPLIES)) as server:
        study.write_text(STUDY.replace("URL", server.url))
        words = ["run", str(study), "--home", str(home), "--workers", "1"]
        done = subprocess.run(
            [sys.executable, "-m", "capo_bench", *words],
            env=os.environ | environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        (tmp_path / "run.out").write_text(done.stdout + done.stderr)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(server.requests) >= len(REPLIES)
    trial = next((home / "trials").glob("*/metrics.json")).parent.name
    invoke("report", str(study))
    invoke("view", str(study))
    invoke("bundle", str(study), "--out", str(tmp_path / "bundle.tar.gz"))
    invoke("export", trial, "--out", str(tmp_path / "export"))
    invoke("sync")
    assert (home / "mlflow.db").exists()
    assert places_of_the_key(tmp_path) == []


@pytest.mark.parametrize("reply", ["every field", "status 400", "status 404"])
def test_no_byte_of_an_evaluation_holds_a_key(tmp_path: Path, reply: str) -> None:
    with serving(Repeating(reply)) as server:
        words = ["eval", MODEL, "--backend", "openai", "--base-url", server.url, "--task", "coins_test", "--limit", "3"]
        words += ["-k", "0", "--critic", "openai", "--critiques", "1", "--home", str(tmp_path), "--max-failed", "1"]
        for setting in (f"model={MODEL}", f"base_url={server.url}", f"api_key_env={NAME}", "max_retries=0"):
            words += ["--set", setting]
        result = CliRunner().invoke(main, words, env={NAME: KEY, "OPENAI_API_KEY": KEY})
        assert len(server.requests) >= 3, result.output
    (tmp_path / "output").write_text(result.output)
    assert [path for path in tmp_path.rglob("*") if path.is_file()]
    assert places_of_the_key(tmp_path) == []


def test_whatever_variable_settings_name_is_redacted() -> None:
    ModelSpec(model=MODEL, backend="openai", base_url="http://127.0.0.1:1/v1", api_key_env="ANY_NAME_AT_ALL")
    assert redact("the value is hunter-two", {"ANY_NAME_AT_ALL": "hunter-two"}) == "the value is ***ANY_NAME_AT_ALL***"
