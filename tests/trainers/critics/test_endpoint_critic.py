"""The `openai` critic: its settings, what decides its words, and its critiques behind every fault of a server."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack

import fault_proxy
import pytest
from chat_server import MODEL, ChatServer, serving
from fault_proxy import FaultProxy
from pydantic import ValidationError

from evals.benchmarks import Problem
from trainers.config import TrialConfig
from trainers.critics.base import Solution, Surroundings
from trainers.critics.critic_thread import CriticThread
from trainers.critics.endpoint import EndpointParams

URL = "http://127.0.0.1:9/v1"
SOLUTIONS = [Solution(Problem(f"sums/test/{number}", "add", "3"), ("1+1=2", "2+1=4")) for number in range(6)]


def params(url, **changes):
    return EndpointParams.model_validate({"name": "openai", "model": MODEL, "base_url": url, **changes})


@pytest.fixture
def serve():
    """Return a function that runs a server until the end of the test."""
    with ExitStack() as running:
        yield lambda server: running.enter_context(serving(server))


@pytest.fixture
def judge(sums):
    """Return a function that asks a critic in its thread for n critiques of each solution."""

    def ask(url, n=3, solutions=SOLUTIONS, **settings):
        critic_thread = CriticThread(params(url, **settings).build(Surroundings(sums, 0)))
        try:
            assert critic_thread.eager
            return critic_thread.ask(solutions, n).result(timeout=60).critiques
        finally:
            critic_thread.close()

    return ask


def test_a_study_names_it():
    config = TrialConfig.model_validate(
        {"critic": {"name": "openai", "model": "m", "base_url": "http://127.0.0.1:8000/v1/", "price": None}}
    )
    assert config.critic == params("http://127.0.0.1:8000/v1", model="m")


def test_the_identity_is_what_decides_the_words():
    here = params(URL)
    there = params(
        "https://example.org/v1",
        api_key_env="OTHER",
        concurrency=1,
        deadline_seconds=1.0,
        max_retries=0,
        breaker={"failures": 9, "cool_down_seconds": 1.0},
        price={"prompt": 1.0, "cached": 1.0, "output": 1.0},
    )
    assert here.identity() == there.identity()
    assert here.identity()["name"] == "openai"
    others = [
        {"model": "m"},
        {"temperature": 0.5},
        {"max_tokens": 9},
        {"seed": 1},
        {"reference": True},
        {"body": {"a": 1}},
    ]
    assert all(params(URL, **change).identity() != here.identity() for change in others)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_url": "127.0.0.1:8000"}, "no http address"),
        ({"base_url": "ftp://127.0.0.1/v1"}, "no http address"),
        ({"base_url": "http:///v1"}, "no http address"),
        ({"base_url": "http://127.0.0.1:80a/v1"}, "Port could not be cast to integer value as '80a'"),
        ({"base_url": "http://user:pa55@host/v1"}, "api_key_env"),
        ({"base_url": "http://host/v1?key=pa55"}, "api_key_env"),
        ({"api_key_env": "sk-abc"}, "api_key_env"),
        ({"model": ""}, "model"),
        ({"api_key": "sk-abc"}, "api_key"),
        ({"deadline_seconds": 0.0}, "deadline_seconds"),
        ({"body": {"n": 3, "stream": True}}, "body sets n, stream"),
        ({"body": {"seed": 3}}, "body sets seed"),
        ({"price": {"prompt": 1.0}}, "output"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        params(**{"url": URL, **settings}) if "base_url" not in settings else params(settings["base_url"])


def test_a_study_is_read_without_the_sdk():
    code = "import sys, trainers.config; print({'openai', 'httpx2', 'httpx'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_setting_reaches_the_request(serve, judge):
    server = serve(ChatServer(say=lambda prompt, seed: "Wrong steps: [2]"))
    settings = {"temperature": 0.5, "top_p": 0.25, "max_tokens": 40, "body": {"top_k": 5}}
    rows = judge(server.url, solutions=SOLUTIONS[:1], **settings)
    assert [[critique.wrong for critique in row] for row in rows] == [[{1}] * 3]
    (request,) = server.requests
    (message,) = request.pop("messages")
    assert "2+1=4" in message["content"]
    assert message["role"] == "user"
    del request["seed"]
    assert request == {"model": MODEL, "n": 3, "temperature": 0.5, "top_p": 0.25, "max_tokens": 40, "top_k": 5}


@pytest.mark.parametrize(
    ("choice", "abstained"),
    [
        ({"message": {"content": "no verdict here"}}, "no_list"),
        ({"message": {"content": ""}}, "empty"),
        ({"message": {"content": "Let me"}, "finish_reason": "length"}, "truncated"),
        ({"message": {"refusal": "I will not."}}, "refusal"),
        # A server's filter, not the model's refusal; the verdict is as little there.
        ({"message": {"content": "Wrong steps: [2]"}, "finish_reason": "content_filter"}, "refusal"),
        ({"message": {"content": "Wrong steps: [2]"}, "finish_reason": "abort"}, "error"),
    ],
)
def test_a_reply_without_a_verdict_abstains_with_its_reason(serve, judge, choice, abstained):
    rows = judge(serve(ChatServer(say=lambda prompt, seed: choice)).url, n=2)
    assert {(critique.wrong, critique.abstained) for row in rows for critique in row} == {(None, abstained)}


LASTING = {
    "hang": fault_proxy.hang,
    "drip": fault_proxy.drip,
    "429 for an hour": fault_proxy.status(429, retry_after=3600),
    "500": fault_proxy.status(500),
    "a reset in mid-stream": fault_proxy.reset,
    "half a JSON": fault_proxy.half_json,
    "no choices": fault_proxy.empty_choices,
}


@pytest.mark.parametrize("fault", LASTING.values(), ids=LASTING.keys())
def test_through_the_desk_every_fault_is_an_abstention_and_never_a_verdict(serve, judge, fault):
    server = serve(ChatServer(say=lambda prompt, seed: "Wrong steps: [2]"))
    proxy = serve(FaultProxy(server.url, rest=fault))
    rows = judge(proxy.url, max_retries=0, deadline_seconds=1.0)
    assert [len(row) for row in rows] == [3] * len(SOLUTIONS)
    assert {critique.wrong for row in rows for critique in row} == {None}
    assert {critique.abstained for row in rows for critique in row} <= {"timeout", "error"}


def test_closing_the_desk_ends_what_hangs(serve, sums):
    proxy = serve(FaultProxy(URL, rest=fault_proxy.hang))
    critic_thread = CriticThread(params(proxy.url, deadline_seconds=600.0).build(Surroundings(sums, 0)))
    asked = critic_thread.ask(SOLUTIONS, 3)
    while proxy.seen < len(SOLUTIONS):
        time.sleep(0.01)
    began = time.perf_counter()
    critic_thread.close()
    assert time.perf_counter() - began < 5
    assert asked.cancelled()
