"""What an evaluation alone asks of an endpoint: whether it can be asked at all, its template, likelihoods."""

from __future__ import annotations

import logging

import fault_proxy
import pytest
from chat_server import MODEL, ChatServer, serving
from endpoints import SAMPLING, opened
from fault_proxy import FaultProxy

from evals.models.base import ModelError
from evals.models.prompt import INSTRUCTION

KEY = "sk-s3cret-s3cret"


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def server(serve):
    return serve(ChatServer())


def refused(url):
    with pytest.raises(ModelError) as caught:
        opened(url).check(["one"], SAMPLING)
    return str(caught.value)


def test_a_server_that_answers_can_be_asked(server, serve):
    opened(server.url).check(["one"], SAMPLING)
    assert server.requests == []
    # It need not know what it is asked; nor is the answer read, which may have no end.
    opened(serve(FaultProxy(server.url)).url).check(["one"], SAMPLING)
    opened(serve(FaultProxy(server.url, probes=[fault_proxy.endless])).url).check(["one"], SAMPLING)


def test_an_endpoint_that_is_down_is_told_before_any_work():
    with serving(ChatServer()) as gone:
        url = gone.url
    message = refused(url)
    assert f"nothing answers at {url}" in message
    assert "start the server, or set base_url" in message


def test_a_key_that_is_not_taken_is_told_before_any_work_and_not_shown(serve, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    server = serve(ChatServer(key="another"))
    assert "OPENAI_API_KEY: it is not set" in refused(server.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    message = refused(server.url)
    assert "status 401; the key is read from the environment variable OPENAI_API_KEY" in message
    assert "the server does not take the key in it" in message
    assert KEY not in message + caplog.text
    server.key = KEY
    opened(server.url).check(["one"], SAMPLING)


def test_likelihoods_are_not_to_be_had(server):
    with pytest.raises(ModelError, match="use backend hf or vllm, or tasks that generate"):
        opened(server.url).score([("one", " two")])


def test_the_endpoint_puts_the_template_around_what_is_asked(server):
    prompts = {template: opened(server.url, template=template).prompt("Why?") for template in ("auto", "chat", "bare")}
    assert prompts == {"auto": INSTRUCTION + "Why?", "chat": INSTRUCTION + "Why?", "bare": "Why?"}


def test_identity_is_how_it_is_asked_wherever_it_is(server, serve):
    identity = opened(server.url).identity()
    assert {"backend": "openai", "model": MODEL, "template": "message"}.items() <= identity.items()
    assert opened(serve(ChatServer()).url, concurrency=3, deadline_seconds=9.0).identity() == identity
    for other in ({"template": "bare"}, {"template": "auto"}, {"model": "m"}, {"body": {"top_k": 5}}):
        assert opened(server.url, **other).identity() != identity
