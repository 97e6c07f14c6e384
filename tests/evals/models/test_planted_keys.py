"""A server that repeats the key in every field of its reply: the key reaches no byte that is kept or told."""

from __future__ import annotations

import json
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from chat_server import MODEL, ChatServer, error, serving
from click.testing import CliRunner

from capo_bench.cli import main
from capo_bench.track.redact import redact
from evals.models.spec import ModelSpec

KEY = 'zz-Th1s/is+a "key"'
NAME = "MY_CRED"


class Repeating(ChatServer):  # type: ignore[misc]
    """Repeats the key wherever a reply has room for text, escaped in one way or another, or in its errors."""

    status = 200

    def answer(self, body: Any, key: Any) -> Any:
        if self.status != 200:
            return self.status, error(f"no: {key} {KEY} {json.dumps(KEY)}")
        message = {"role": "assistant", "content": f"{KEY} \\boxed{{1}} {key}", "reasoning_content": KEY, "name": KEY}
        if self.requests and len(self.requests) % 3 == 0:
            message |= {"content": None, "refusal": KEY}
        reason = KEY if len(self.requests) % 3 == 1 else "stop"
        choice = {"index": 0, "finish_reason": reason, "message": message, "logprobs": {KEY: KEY}, KEY: KEY}
        usage = {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6, KEY: KEY}
        return 200, {
            "id": KEY,
            "object": KEY,
            "model": KEY,
            "system_fingerprint": KEY,
            "choices": [choice],
            "usage": usage,
        }


@pytest.mark.parametrize("status", [200, 400, 404, 429])
def test_no_byte_of_an_evaluation_holds_a_key(tmp_path: Path, status: int) -> None:
    with serving(Repeating()) as server:
        server.status = status
        words = ["eval", MODEL, "--backend", "openai", "--base-url", server.url, "--task", "coins_test", "--limit", "3"]
        words += ["-k", "0", "--critic", "openai", "--critiques", "1", "--home", str(tmp_path), "--max-failed", "1"]
        for setting in (f"model={MODEL}", f"base_url={server.url}", f"api_key_env={NAME}", "max_retries=0"):
            words += ["--set", setting]
        result = CliRunner().invoke(main, words, env={NAME: KEY, "OPENAI_API_KEY": KEY})
        assert len(server.requests) >= 3, result.output
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    for form in (KEY, json.dumps(KEY)[1:-1]):
        assert form not in result.output
        assert not any(form.encode() in data for data in kept)
    if status == 200:
        (store,) = tmp_path.rglob("critiques.sqlite")
        with closing(sqlite3.connect(store)) as connection:
            records = [zlib.decompress(record) for (record,) in connection.execute("SELECT record FROM critiques")]
        assert not any(form.encode() in record for form in (KEY, json.dumps(KEY)[1:-1]) for record in records)


def test_whatever_variable_settings_name_is_redacted() -> None:
    ModelSpec(model=MODEL, backend="openai", base_url="http://127.0.0.1:1/v1", api_key_env="ANY_NAME_AT_ALL")
    assert redact("the value is hunter-two", {"ANY_NAME_AT_ALL": "hunter-two"}) == "the value is ***ANY_NAME_AT_ALL***"
