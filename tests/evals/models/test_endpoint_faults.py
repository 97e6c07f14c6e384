"""A model behind every fault of an endpoint: nothing lost, nothing invented, nothing counted as 0, the time bounded."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time

import fault_proxy
import pytest
from chat_server import ChatServer, serving
from endpoints import SAMPLING, ask, complete, drawn, ends, opened, texts
from fault_proxy import FaultProxy

from evals.models import chat
from evals.models.base import Sampling
from evals.models.chat import ChatClient, compute_deadline
from evals.models.spec import read_spec

PROMPTS = ["one", "two", "three"]
KEY = "sk-s3cret"
RIGHT = [drawn(prompt, range(4)) for prompt in PROMPTS]

PASSING = {
    "429 with Retry-After": fault_proxy.status(429, retry_after=0.05),
    "500": fault_proxy.status(500),
    "503": fault_proxy.status(503, retry_after=0.05),
    "a connection closed": fault_proxy.drop,
    "a reset in mid-stream": fault_proxy.reset,
    "half a JSON": fault_proxy.half_json,
    "no choices": fault_proxy.empty_choices,
    "one choice of four": fault_proxy.one_choice,
    "twice the choices": fault_proxy.twice_the_choices,
    "a body too long": fault_proxy.endless,
}
LASTING = {
    "hang": (fault_proxy.hang, "timeout", "no reply within 3 s (deadline_seconds)"),
    "drip": (fault_proxy.drip, "timeout", "no reply within 3 s (deadline_seconds)"),
    "429 for an hour": (fault_proxy.status(429, retry_after=3600), "error", "status 429: "),
    "429 for longer than there is time": (fault_proxy.status(429, retry_after=60), "timeout", "no reply within 3 s"),
    "500": (fault_proxy.status(500), "error", "status 500: "),
    "a reset in mid-stream": (fault_proxy.reset, "error", "is the server up and base_url right?"),
    "half a JSON": (fault_proxy.half_json, "error", "the reply is no chat completion"),
    "no choices": (fault_proxy.empty_choices, "error", "the reply is no chat completion: choices"),
    "a body too long": (fault_proxy.endless, "error", "the reply is longer than 65536 bytes"),
}


@pytest.fixture(autouse=True)
def shorter_limit(monkeypatch):
    """A body too long comes fast enough for any machine."""
    monkeypatch.setattr(chat, "MAX_REPLY_BYTES", 2**16)


@pytest.fixture
def server(serve):
    return serve(ChatServer())


@pytest.fixture
def spoil(serve, server):
    """Return a function that puts a fault proxy before the server."""
    return lambda plan=(), rest=None, probes=(): serve(FaultProxy(server.url, plan, rest, probes))


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_a_passing_fault_costs_nothing_but_time(spoil, fault):
    proxy = spoil([fault, None, fault])
    rows = complete(proxy.url, PROMPTS, 4, max_retries=2)
    assert texts(rows) == RIGHT
    assert ends(rows) == [["stop"] * 4] * 3


def test_a_passing_hang_is_asked_again_at_half_of_the_deadline(spoil):
    proxy = spoil([fault_proxy.hang])
    began = time.perf_counter()
    rows = complete(proxy.url, PROMPTS, 4, deadline_seconds=4.0)
    assert texts(rows) == RIGHT
    assert 2 <= time.perf_counter() - began < 4
    assert proxy.seen == 4


@pytest.mark.parametrize(("fault", "end", "message"), LASTING.values(), ids=LASTING.keys())
def test_a_lasting_fault_is_a_completion_that_failed_in_bounded_time(spoil, fault, end, message):
    proxy = spoil(rest=fault)
    began = time.perf_counter()
    rows = complete(proxy.url, PROMPTS, 4, max_retries=1, deadline_seconds=3.0, concurrency=3)
    assert time.perf_counter() - began < 2 * 3.0
    assert ends(rows) == [[end] * 4] * 3
    for completion in (each for row in rows for each in row):
        assert completion.failed
        assert completion.text.startswith(f"{proxy.url}: ")
        assert message in completion.text
        assert completion.usage.prompt_tokens == completion.usage.output_tokens == 0
        assert completion.usage.seconds > 0


def test_one_prompts_fault_leaves_the_others_alone(spoil):
    proxy = spoil([fault_proxy.status(500)] * 2)
    rows = complete(proxy.url, PROMPTS, 4, max_retries=1, concurrency=1)
    assert ends(rows) == [["error"] * 4, ["stop"] * 4, ["stop"] * 4]
    assert texts(rows)[1:] == RIGHT[1:]


def test_a_wait_that_the_server_asks_for_is_kept(spoil):
    proxy = spoil([fault_proxy.status(429, retry_after=1.5)])
    began = time.perf_counter()
    assert texts(complete(proxy.url, ["one"], 4)) == RIGHT[:1]
    assert time.perf_counter() - began >= 1.5


def test_retries_are_as_many_as_set(spoil):
    proxy = spoil(rest=fault_proxy.status(500))
    complete(proxy.url, ["one"], 4, max_retries=0)
    assert proxy.seen == 1
    complete(proxy.url, ["one"], 4, max_retries=1)
    assert proxy.seen == 3


def test_what_is_missing_is_asked_for_and_what_fails_there_failed(spoil):
    proxy = spoil([fault_proxy.one_choice, None, fault_proxy.status(500)])
    ((*row,),) = complete(proxy.url, ["one"], 4, max_retries=0, concurrency=1)
    assert ends([row]) == [["stop", "stop", "error", "stop"]]
    assert [each.text for each in row if not each.failed] == [RIGHT[0][place] for place in (0, 1, 3)]


@pytest.mark.parametrize(
    ("settings", "max_tokens", "seconds"),
    [
        ({}, 0, 60.0),
        ({}, 100, 100.0),  # 2 × (30 s + 100 tokens at 5 a second)
        ({}, 32768, 13167.2),
        ({"body": {"max_tokens": 200}}, 100, 140.0),
        ({"body": {"max_tokens": None, "max_completion_tokens": 1000}}, 100, 460.0),
        ({"body": {"max_tokens": None}}, 100, 100.0),
        ({"body": {"max_tokens": "many"}}, 100, 100.0),
        ({"deadline_seconds": 7.0}, 32768, 7.0),
    ],
)
def test_the_deadline_grows_with_the_longest_reply(settings, max_tokens, seconds):
    spec = read_spec(model="m", backend="openai", base_url="http://127.0.0.1:9/v1", **settings)
    assert compute_deadline(spec, max_tokens) == pytest.approx(seconds)


def test_a_request_is_given_the_time_of_its_longest_reply(spoil, monkeypatch):
    monkeypatch.setattr(chat, "_OVERHEAD_SECONDS", 0.1)
    monkeypatch.setattr(chat, "_SLOWEST", 100.0)
    url = spoil(rest=fault_proxy.hang).url
    for max_tokens, seconds in ((10, "0.4"), (20, "0.6")):
        ((failed,),) = complete(url, ["one"], 1, Sampling(1.0, 1.0, max_tokens), max_retries=0)
        assert (failed.end, failed.text) == ("timeout", f"{url}: no reply within {seconds} s (deadline_seconds)")


@pytest.fixture
def impatient(monkeypatch):
    """A request that waits this long has the server probed."""
    monkeypatch.setattr(chat, "_PATIENCE_SECONDS", 0.05)


def released(server, proxy, probes):
    """Ask through a proxy for what the server holds back until there were so many probes."""
    server.go.clear()

    async def wait(model):
        asked = asyncio.create_task(model.complete(["one"], 4, SAMPLING, seed=0))
        while proxy.probed < probes and not asked.done():
            await asyncio.sleep(0.01)
        server.go.set()
        return await asked

    return ask(opened(proxy.url, max_retries=0), wait)


def test_a_live_server_that_is_slow_is_waited_for(server, spoil, impatient):
    proxy = spoil(probes=[fault_proxy.status(404)])
    assert texts(released(server, proxy, 4)) == RIGHT[:1]
    assert proxy.seen == 1


def test_a_probe_needs_no_more_than_the_beginning_of_an_answer(server, spoil, impatient):
    assert texts(released(server, spoil(probes=[fault_proxy.endless]), 3)) == RIGHT[:1]


def test_one_silent_probe_between_answers_ends_nothing(server, spoil, impatient):
    alive = fault_proxy.status(404)
    proxy = spoil(probes=[fault_proxy.drop, alive, fault_proxy.drop, alive])
    assert texts(released(server, proxy, 5)) == RIGHT[:1]


@pytest.mark.parametrize("silence", [fault_proxy.hang, fault_proxy.drop])
def test_a_server_that_hangs_is_left_after_two_silent_probes(spoil, impatient, monkeypatch, silence):
    monkeypatch.setattr(chat, "_PROBE_SECONDS", 0.2)
    proxy = spoil(rest=fault_proxy.hang, probes=[silence])
    began = time.perf_counter()
    (row,) = complete(proxy.url, ["one"], 4)
    assert time.perf_counter() - began < 30  # of 470
    assert ends([row]) == [["timeout"] * 4]
    assert row[0].text == f"{proxy.url}: the server has not answered 2 probes in a row; it hangs"
    assert (proxy.seen, proxy.probed) == (1, 2)


def test_a_server_that_answers_others_is_not_probed(spoil, impatient):
    proxy = spoil(probes=[fault_proxy.drop])
    spec = read_spec(model="m", backend="openai", base_url=proxy.url)

    async def watch(client):
        client._http.heard = math.inf
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client._wait_for_silence(), 0.5)

    ask(ChatClient(spec, None), watch)
    assert proxy.probed == 0


def test_a_reply_of_any_kind_is_a_sign_of_life(spoil):
    for fault in (None, fault_proxy.status(400), fault_proxy.half_json):
        model = opened(spoil(rest=fault).url, max_retries=0)
        began = time.monotonic()
        ask(model, lambda model: model.complete(["one"], 1, SAMPLING, seed=0))
        assert began < model._client._http.heard


def test_the_breaker_ends_the_waiting_and_says_so_once(spoil, caplog):
    proxy = spoil(rest=fault_proxy.hang)
    began = time.perf_counter()
    rows = complete(
        proxy.url, [str(number) for number in range(60)], 2,
        concurrency=4, max_retries=0, deadline_seconds=2.0, breaker={"failures": 4, "cool_down_seconds": 60.0},
    )  # fmt: skip
    assert time.perf_counter() - began < 8  # of the 15 × 2 seconds that all would have waited
    # The first three to fail make room for others before the fourth opens the breaker.
    assert 4 <= proxy.seen <= 7
    assert [row.count("timeout") for row in ends(rows)].count(2) == proxy.seen
    assert [row.count("error") for row in ends(rows)].count(2) == 60 - proxy.seen
    assert caplog.text.count("4 requests in a row failed") == 1


def test_after_the_cool_down_the_endpoint_is_back(spoil):
    proxy = spoil([fault_proxy.status(500)] * 2)

    async def over_the_cool_down(model):
        shut = await model.complete(PROMPTS, 4, SAMPLING, seed=0)
        seen = proxy.seen
        await asyncio.sleep(0.4)
        return shut, seen, await model.complete(PROMPTS, 4, SAMPLING, seed=0)

    breaker = {"failures": 2, "cool_down_seconds": 0.3}
    shut, seen, back = ask(opened(proxy.url, max_retries=0, breaker=breaker, concurrency=1), over_the_cool_down)
    assert ends(shut) == [["error"] * 4] * 3
    assert seen == 2
    assert texts(back) == RIGHT


def test_what_failed_is_told_with_each_completion(spoil):
    proxy = spoil(rest=fault_proxy.status(503))
    rows = complete(
        proxy.url, PROMPTS, 1, max_retries=0, concurrency=1, breaker={"failures": 1, "cool_down_seconds": 60.0}
    )
    asked, *spared = (each.text for row in rows for each in row)
    assert f"{proxy.url}: status 503" in asked
    assert spared == [f"not asked after {asked}"] * 2


@pytest.mark.parametrize(
    ("settings", "status", "way_out"),
    [
        ({}, 401, "the environment variable CRITIC_KEY: the server does not take the key in it"),
        ({"model": "critic-2"}, 404, "is model 'critic-2' served there, and does base_url end where the API begins?"),
    ],
)
def test_what_no_retry_mends_fails_at_once_with_the_way_out(server, caplog, monkeypatch, settings, status, way_out):
    monkeypatch.setenv("CRITIC_KEY", KEY)
    server.key = "another" if status == 401 else None
    rows = complete(server.url, PROMPTS, 2, concurrency=1, api_key_env="CRITIC_KEY", **settings)
    assert ends(rows) == [["error"] * 2] * 3
    assert len(server.requests) == 3
    (told,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert f"{server.url}: status {status}" in told
    assert way_out in told


def test_a_key_that_is_not_set_is_what_the_message_says(server, caplog, monkeypatch):
    monkeypatch.delenv("CRITIC_KEY", raising=False)
    server.key = KEY
    complete(server.url, ["p"], 1, api_key_env="CRITIC_KEY")
    assert "status 401; the key is read from the environment variable CRITIC_KEY: it is not set" in caplog.text


def test_a_server_that_is_not_there_is_named(caplog):
    with serving(ChatServer()) as gone:
        url = gone.url
    assert ends(complete(url, ["p"], 2, max_retries=0)) == [["error"] * 2]
    assert f"{url}: ConnectError" in caplog.text
    assert "is the server up and base_url right?" in caplog.text


def test_a_server_that_moved_is_not_followed_with_the_key(spoil, server, caplog):
    def moved(request):
        request.reply(307, b"", [("Location", server.url + "/chat/completions")])

    assert ends(complete(spoil([moved]).url, ["p"], 1)) == [["error"]]
    assert server.requests == []
    assert f"set base_url to where it leads: {server.url}" in caplog.text


def test_the_key_is_in_no_log_no_error_no_identity_and_no_repr(spoil, caplog, monkeypatch):
    """Servers repeat the key that they were sent; the SDK and the HTTP client log in detail at this level."""
    monkeypatch.setenv("CRITIC_KEY", KEY)
    caplog.set_level(logging.DEBUG)

    def tell(request):
        request.reply(400, b'{"error": {"message": "%s"}}' % request.headers["Authorization"].encode())

    def no_http(request):
        request.wfile.write(b"Bearer %s\r\n\r\n" % KEY.encode())
        request.close_connection = True

    proxy = spoil([tell, tell, no_http, fault_proxy.status(401), fault_proxy.status(500), fault_proxy.half_json])

    async def show(model):
        rows = await model.complete(["a", "b", "c", "d", "e", "f"], 2, SAMPLING, seed=0)
        client = model._client
        return [*map(repr, (model, model._spec, client, client._client, rows)), json.dumps(model.identity())]

    shown = ask(opened(proxy.url, api_key_env="CRITIC_KEY", max_retries=0, concurrency=1), show)
    assert proxy.plan == []
    # httpcore2 writes down at DEBUG what a server sends, word for word; all others keep the key to themselves.
    logged = [record.getMessage() for record in caplog.records if not record.name.startswith("httpcore2")]
    assert [text for text in logged if KEY in text] == []
    assert [text for text in logged if "[key]" in text] != []
    assert [text for text in shown if KEY in text] == []


def test_a_key_that_the_cut_of_a_message_would_halve_is_hidden_whole(spoil, caplog, monkeypatch):
    key = "sk-" + "s3cret" * 20
    monkeypatch.setenv("CRITIC_KEY", key)
    proxy = spoil(
        rest=lambda request: request.reply(400, b'{"error": {"message": "%s"}}' % (b"x" * 240 + key.encode()))
    )
    rows = complete(proxy.url, ["p"], 1, api_key_env="CRITIC_KEY")
    assert ends(rows) == [["error"]]
    assert "xxx[key" in caplog.text
    assert "s3cret" not in caplog.text + repr(rows)
