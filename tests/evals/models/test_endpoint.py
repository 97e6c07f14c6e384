"""A model behind an endpoint that works: what is asked, what comes back, what it cost."""

from __future__ import annotations

import asyncio
import json

import pytest
from chat_server import ChatServer, words
from endpoints import SAMPLING, ask, complete, drawn, ends, opened, texts
from fault_proxy import FaultProxy

from evals.models.base import ModelError, Sampling, Usage
from evals.models.chat import NO_KEY
from evals.models.draws import draw_seed

URL = "http://127.0.0.1:9/v1"


@pytest.fixture
def server(serve):
    return serve(ChatServer())


def test_n_completions_are_one_request(server):
    rows = complete(server.url, ["one", "two"], 4)
    assert texts(rows) == [drawn("one", range(4)), drawn("two", range(4))]
    assert ends(rows) == [["stop"] * 4] * 2
    assert [request["n"] for request in server.requests] == [4, 4]


def test_what_is_asked(server):
    complete(server.url, ["judge this"], 2, Sampling(0.7, 0.9, 50), seed=3)
    (request,) = server.requests
    assert request == {
        "model": "critic-1",
        "messages": [{"role": "user", "content": "judge this"}],
        "max_tokens": 50,
        "temperature": 0.7,
        "top_p": 0.9,
        "seed": draw_seed(3, "judge this"),
        "n": 2,
    }


def test_fields_of_the_request_may_be_added_replaced_and_left_out(server):
    complete(server.url, ["p"], 1, body={"max_tokens": None, "max_completion_tokens": 9, "top_k": 5, "seed": None})
    (request,) = server.requests
    assert "max_tokens" not in request
    assert "seed" not in request
    assert (request["max_completion_tokens"], request["top_k"]) == (9, 5)


def test_the_order_is_that_of_the_prompts(server):
    prompts = [f"prompt {number}" for number in range(40)]
    rows = complete(server.url, prompts, 2, concurrency=8)
    assert texts(rows) == [drawn(prompt, range(2)) for prompt in prompts]


def test_a_completion_does_not_depend_on_how_many_are_asked_for_or_in_what_batch(server):
    (eight,) = texts(complete(server.url, ["p"], 8))
    assert texts(complete(server.url, ["q", "p"], 3, first=5))[1] == eight[5:]
    assert texts(complete(server.url, ["p"], 1, first=7)) == [eight[7:]]
    assert len(set(eight)) == 8


def test_the_seed_and_the_prompt_decide_the_draws():
    assert len({draw_seed(seed, prompt) for seed in range(5) for prompt in "abcde"}) == 25
    assert all(0 <= draw_seed(seed, "p") < 2**30 for seed in range(100))
    assert draw_seed(7, "judge this") == 667241337


def test_greedy_is_one_completion_at_temperature_nought(server):
    rows = complete(server.url, ["p q"], 3, SAMPLING.greedily())
    assert texts(rows) == [[words("p q", None)] * 3]
    (request,) = server.requests
    assert request["temperature"] == 0
    assert not {"n", "seed", "top_p"} & request.keys()
    assert [(each.usage.prompt_tokens, each.usage.output_tokens) for each in rows[0]] == [(7, 3), (7, 2), (6, 2)]


@pytest.mark.parametrize("refusal", [400, 422, 0])
def test_a_server_without_n_is_asked_one_at_a_time_and_that_is_remembered(serve, refusal):
    server = serve(ChatServer(n_refused=refusal))
    rows = complete(server.url, ["one", "two", "three"], 3, concurrency=1)
    assert texts(rows) == [drawn(prompt, range(3)) for prompt in ("one", "two", "three")]
    # Prompts whose first request was on its way before the answer are asked with n as well.
    sizes = [request.get("n", 1) for request in server.requests]
    assert sizes.count(3) <= 3
    assert sizes[-6:] == [1] * 6


def test_it_is_remembered_over_batches(serve):
    server = serve(ChatServer(n_refused=400))

    async def twice(model):
        await model.complete(["one"], 3, SAMPLING, seed=0)
        return await model.complete(["two"], 3, SAMPLING, seed=0)

    assert texts(ask(opened(server.url), twice)) == [drawn("two", range(3))]
    assert [request.get("n", 1) for request in server.requests] == [3, 1, 1, 1, 1, 1, 1]


def test_a_prompt_that_is_too_long_fails_alone_and_says_nothing_of_n(serve, caplog):
    server = serve(ChatServer(longest=10))

    async def both(model):
        long = await model.complete(["p" * 11] * 3, 4, SAMPLING, seed=0)
        return long, await model.complete(["p"], 4, SAMPLING, seed=0)

    long, short = ask(opened(server.url, breaker={"failures": 1}), both)
    assert ends(long) == [["error"] * 4] * 3
    assert texts(short) == [drawn("p", range(4))]
    assert server.requests[-1]["n"] == 4
    assert caplog.text.count("maximum context length is 10") == 1
    assert "see max_tokens" in caplog.text


@pytest.mark.parametrize(
    ("choice", "text", "end"),
    [
        ({"message": {"content": "cut"}, "finish_reason": "length"}, "cut", "length"),
        # A model that thought to its end without a word.
        ({"message": {"content": None}, "finish_reason": "length"}, "", "length"),
        ({"message": {"content": "cut"}, "finish_reason": "max_tokens"}, "cut", "length"),
        ({"message": {"content": "cut"}, "finish_reason": "model_length"}, "cut", "length"),
        ({"message": {"content": None}}, "", "stop"),
        ({"message": {}}, "", "stop"),
        ({"message": {"content": "whole"}, "finish_reason": None}, "whole", "stop"),
        ({"message": {"content": "fine", "reasoning_content": "hm", "tool_calls": []}}, "fine", "stop"),
        ({"message": {"content": None, "refusal": "I will not."}}, "I will not.", "refusal"),
        # What the server breaks off is no answer, however much like one its beginning is.
        (
            {"message": {"content": "Wrong steps: [2"}, "finish_reason": "abort"},
            "the endpoint broke the reply off: abort",
            "error",
        ),
        ({"message": {"content": None}, "finish_reason": "error"}, "the endpoint broke the reply off: error", "error"),
        (
            {"message": {"content": "half"}, "finish_reason": "content_filter"},
            "the endpoint broke the reply off: content_filter",
            "filter",
        ),
    ],
)
def test_what_a_choice_says(serve, choice, text, end):
    (row,) = complete(serve(ChatServer(say=lambda prompt, seed: choice)).url, ["p"], 2, max_retries=0)
    assert [(each.text, each.end) for each in row] == [(text, end)] * 2
    assert [each.failed for each in row] == [end in {"error", "filter"}] * 2
    assert [each.usage.output_tokens for each in row] == [7, 7]  # it was written, and is paid


def test_a_reply_that_no_string_can_hold_is_unreadable(serve):
    half = {"message": {"content": "\ud83d half"}}
    assert ends(complete(serve(ChatServer(say=lambda prompt, seed: half)).url, ["p"], 2, max_retries=0)) == [
        ["error"] * 2
    ]


def test_a_prompt_with_half_a_character_is_asked_all_the_same(server):
    assert ends(complete(server.url, ["a\ud83d b"], 1)) == [["stop"]]
    assert server.requests[0]["messages"][0]["content"] == "a? b"


def test_the_cost_of_a_call_is_shared_so_that_it_sums(server):
    price = {"prompt": 2.0, "cached": 0.5, "output": 10.0}
    (row,) = complete(server.url, ["one two three"], 4, price=price)
    usages = [each.usage for each in row]
    assert sum(usage.prompt_tokens for usage in usages) == 30
    assert sum(usage.cached_tokens for usage in usages) == 15
    assert sum(usage.output_tokens for usage in usages) == 28
    assert sum(usage.money for usage in usages) == pytest.approx((15 * 2.0 + 15 * 0.5 + 28 * 10.0) / 1e6)
    assert len({usage.seconds for usage in usages}) == 1
    assert usages[0].seconds > 0
    assert usages[0] == Usage(8, 4, 7, usages[0].seconds, usages[0].money)


def test_without_a_price_nothing_is_paid(server):
    ((completion,),) = complete(server.url, ["p"], 1)
    assert completion.usage.money == 0


def counting(changes):
    """A fault: the reply with other counts of tokens, as JSON."""

    def fault(request):
        code, data = request.forward()
        reply = {**json.loads(data), "usage": "here"}
        request.reply(code, json.dumps(reply).replace('"here"', changes).encode())

    return fault


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ('{"prompt_tokens": 30, "completion_tokens": 1%s}' % ("0" * 400), (30, 0, 0)),
        ('{"prompt_tokens": 1%s, "completion_tokens": 7}' % ("0" * 400), (0, 0, 7)),
        ('{"prompt_tokens": 30, "prompt_tokens_details": {"cached_tokens": 1%s}}' % ("0" * 400), (30, 0, 0)),
        ('{"prompt_tokens": 30, "prompt_tokens_details": {"cached_tokens": 31}}', (30, 30, 0)),
        ('{"prompt_tokens": null, "prompt_tokens_details": null}', (0, 0, 0)),
        ("null", (0, 0, 0)),
        ("{}", (0, 0, 0)),
    ],
)
def test_counts_that_cannot_be_are_dropped_and_the_answer_is_kept(server, serve, usage, counted):
    proxy = serve(FaultProxy(server.url, rest=counting(usage)))
    ((completion,),) = complete(proxy.url, ["p"], 1, price={"prompt": 2.0, "cached": 0.5, "output": 10.0})
    assert completion.text == drawn("p", [0])[0]
    paid = completion.usage
    assert (paid.prompt_tokens, paid.cached_tokens, paid.output_tokens) == counted
    assert 0 <= paid.money < 1


def wait_for(server, count):
    """Return a coroutine that lets a server go on when it holds that many requests."""

    async def watch():
        while server.now < count:
            await asyncio.sleep(0.01)
        server.go.set()

    return watch()


@pytest.mark.parametrize(
    ("processes", "concurrency", "most"), [(None, 4, 4), ("1", 3, 3), ("4", 8, 2), ("3", 8, 2), ("4", 2, 1)]
)
def test_the_processes_of_a_training_share_what_may_be_in_flight(server, monkeypatch, processes, concurrency, most):
    if processes is None:
        monkeypatch.delenv("WORLD_SIZE", raising=False)
    else:
        monkeypatch.setenv("WORLD_SIZE", processes)
    server.go.clear()

    async def all_at_once(model):
        asked = model.complete([f"p{number}" for number in range(12)], 1, SAMPLING, seed=0)
        rows, _ = await asyncio.gather(asked, wait_for(server, most))
        return rows

    rows = ask(opened(server.url, concurrency=concurrency), all_at_once)
    assert ends(rows) == [["stop"]] * 12
    assert server.most == most


def test_one_at_a_time_is_no_more_at_a_time(serve):
    server = serve(ChatServer(n_refused=400))
    complete(server.url, [f"p{number}" for number in range(12)], 3, concurrency=3)
    assert server.most <= 3


def test_nothing_in_nothing_out(server):
    assert complete(server.url, [], 4) == []
    assert server.requests == []


def test_cancelling_leaves_at_once(server):
    server.go.clear()

    async def cancel(model):
        asked = asyncio.create_task(model.complete(["p"] * 4, 2, SAMPLING, seed=0))
        while len(server.requests) < 4:
            await asyncio.sleep(0.01)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        return len(asyncio.all_tasks())

    assert ask(opened(server.url, deadline_seconds=60.0), cancel) == 1
    server.go.set()


def test_the_key_is_sent_and_comes_from_the_environment(serve, monkeypatch):
    monkeypatch.setenv("CRITIC_KEY", " s3cret-key\n")
    server = serve(ChatServer(key="s3cret-key"))
    assert texts(complete(server.url, ["p"], 1, api_key_env="CRITIC_KEY")) == [drawn("p", [0])]
    assert server.keys == ["Bearer s3cret-key"]


def test_a_server_that_asks_for_no_key_gets_none_of_ours(server, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    complete(server.url, ["p"], 1)
    assert server.keys == [f"Bearer {NO_KEY}"]


@pytest.mark.parametrize("key", ["s3cret\nkey", "s3cret-ключ"])
def test_a_key_that_cannot_be_one_is_told_without_showing_it(monkeypatch, key):
    monkeypatch.setenv("CRITIC_KEY", key)
    with pytest.raises(ModelError, match="the environment variable CRITIC_KEY holds characters that no key") as raised:
        opened(URL, api_key_env="CRITIC_KEY")
    assert "s3cret" not in str(raised.value)


def test_nothing_is_said_on_the_terminal(server, capfd):
    complete(server.url, ["one", "two"], 2)
    assert capfd.readouterr() == ("", "")
