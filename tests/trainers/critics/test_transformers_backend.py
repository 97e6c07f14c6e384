from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from dataclasses import replace

import pytest

from evals.benchmarks import Problem
from trainers.backbones import BackboneConfig
from trainers.backbones.tiny import MAX_POSITIONS, build_model, build_tokenizer, save
from trainers.critics.backend import Reply
from trainers.critics.base import Solution, Surroundings
from trainers.critics.opening import open_critic
from trainers.critics.transformers import TransformersBackend, TransformersParams

TEXT = "Ann has 3 coins. Ann finds 4.\n\n3 + 4 = 7\n\nWrong steps: [1, 2]"
PROMPTS = [TEXT, "3 + 4 = 7", "Ann finds 4.", TEXT + TEXT]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer([TEXT])
    save(build_model(BackboneConfig(source="embedded", width=32, layers=1), tokenizer, seed=0), tokenizer, folder)
    return str(folder)


@pytest.fixture
def make(folder):
    return lambda **settings: TransformersBackend(TransformersParams(**{"max_tokens": 12, **settings}), folder)


def ask(backend, prompts, n, **how):
    return asyncio.run(backend.complete(prompts, n, **how))


def texts(replies):
    return [[reply.text for reply in row] for row in replies]


def test_replies_are_different_samples_that_come_again(make):
    replies = texts(ask(make(), PROMPTS, 4))
    assert [len(set(row)) for row in replies] == [4] * 4
    assert texts(ask(make(), PROMPTS, 4)) == replies
    assert texts(ask(make(seed=1), PROMPTS, 4)) != replies


@pytest.mark.parametrize("batch_tokens", [1, 200, 10**6])
def test_neither_batch_nor_order_nor_company_changes_a_reply(make, batch_tokens):
    together = texts(ask(make(), PROMPTS, 3))
    backend = make(batch_tokens=batch_tokens)
    assert texts(ask(backend, PROMPTS[::-1], 3)) == together[::-1]
    assert [texts(ask(backend, [prompt], 3))[0] for prompt in PROMPTS] == together


def test_replies_asked_for_in_parts_are_those_asked_for_at_once(make):
    backend = make()
    at_once = texts(ask(backend, PROMPTS, 5))
    parts = zip(texts(ask(backend, PROMPTS, 2)), texts(ask(backend, PROMPTS, 3, first=2)), strict=True)
    assert [first + rest for first, rest in parts] == at_once


def test_greedy_replies_are_all_one_and_of_no_seed(make):
    replies = texts(ask(make(), PROMPTS, 2, greedy=True))
    assert all(len(set(row)) == 1 for row in replies)
    assert texts(ask(make(seed=1, temperature=0.1), PROMPTS, 1, greedy=True)) == [row[:1] for row in replies]


def test_nearly_cold_is_nearly_greedy(make):
    assert texts(ask(make(temperature=1e-6), PROMPTS, 1)) == texts(ask(make(), PROMPTS, 1, greedy=True))


def test_usage_adds_up_to_what_was_read_and_written(make, folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    for prompt, row in zip(PROMPTS, ask(make(), PROMPTS, 3), strict=True):
        read = len(tokenizer(prompt)["input_ids"])
        assert [reply.usage.prompt_tokens for reply in row] == [read, 0, 0]
        assert all(reply.usage.cached_tokens == 0 and reply.usage.seconds > 0 for reply in row)
        assert all(reply.usage.output_tokens == 12 for reply in row if reply.truncated)


def test_replies_cost_the_same_however_they_are_asked_for(make):
    together = ask(make(), PROMPTS, 3)
    apart = [one + more for one, more in zip(ask(make(), PROMPTS, 1), ask(make(), PROMPTS, 2, first=1), strict=True)]
    told = [
        [[(r.usage.prompt_tokens, r.usage.output_tokens) for r in row] for row in rows] for rows in (together, apart)
    ]
    assert told[0] == told[1]


def test_a_reply_that_reaches_the_limit_is_truncated(make):
    [[reply]] = ask(make(max_tokens=2), ["3 + 4 ="], 1)
    assert (reply.truncated, reply.failure, reply.usage.output_tokens) == (True, None, 2)


def test_a_prompt_without_room_fails_and_the_others_do_not(make, caplog):
    fits = "3" * (MAX_POSITIONS - 1)
    backend = make()
    with caplog.at_level(logging.WARNING):
        replies = ask(backend, ["3" * MAX_POSITIONS, PROMPTS[0], "", fits], 2)
        ask(backend, [""], 1)
    failed = [Reply("", failure="error")] * 2
    assert (replies[0], replies[2]) == (failed, failed)
    assert [reply.text for reply in replies[1]] == texts(ask(backend, PROMPTS[:1], 2))[0]
    # One position is left: one token, then cut.
    assert [(reply.usage.output_tokens, reply.failure) for reply in replies[3]] == [(1, None)] * 2
    assert len([record for record in caplog.records if "does not fit" in record.message]) == 1


def test_a_batch_that_the_model_cannot_compute_fails_alone(make, caplog):
    backend = make(batch_tokens=1)
    whole = texts(ask(backend, PROMPTS, 2))
    decoder = backend._decoder
    rows = len(backend._tokenizer(PROMPTS[0])["input_ids"])

    class Small:
        """Runs out of memory on one length of prompt."""

        def decode(self, ids, *rest):
            if len(ids[0]) == rows:
                raise MemoryError("no room for this one")
            return decoder.decode(ids, *rest)

    backend._decoder = Small()
    replies = ask(backend, PROMPTS, 2)
    assert replies[0] == [Reply("", failure="error")] * 2
    assert texts(replies)[1:] == whole[1:]
    assert "no room for this one" in caplog.text


def test_a_model_that_is_not_there_is_an_error(tmp_path):
    backend = TransformersBackend(TransformersParams(), str(tmp_path / "nowhere"))
    with pytest.raises((OSError, ValueError)):
        ask(backend, PROMPTS, 1)


def test_calls_may_overlap_and_the_loop_stays_free(make):
    backend = make(max_tokens=40)
    alone = [texts(ask(backend, [prompt], 2))[0] for prompt in PROMPTS]

    async def ticks(until):
        count = 0
        while not until.done():
            await asyncio.sleep(0)
            count += 1
        return count

    async def together():
        calls = asyncio.gather(*(backend.complete([prompt], 2) for prompt in PROMPTS))
        return await ticks(calls), await calls

    count, replies = asyncio.run(together())
    assert [texts(rows)[0] for rows in replies] == alone
    assert count > 10


def test_closing_frees_the_model_and_what_is_asked_later_fails(make):
    backend = make()
    ask(backend, PROMPTS, 1)
    model = weakref.ref(backend._decoder.model)
    asyncio.run(backend.close())
    gc.collect()
    assert model() is None
    assert ask(backend, ["1"], 2) == [[Reply("", failure="error")] * 2]


def test_closing_ends_a_decoding_that_would_go_on_and_on(make):
    backend = make(max_tokens=10**5, batch_tokens=10**9)
    ask(backend, ["1"], 1)
    began = threading.Event()
    backend._decoder = replace(backend._decoder, ends={-1}, stopped=lambda: began.set() or backend._closed.is_set())
    backend._positions = None

    async def close_meanwhile():
        call = asyncio.create_task(backend.complete(["1", "1 + 1"], 2))
        await asyncio.to_thread(began.wait, 60)
        await backend.close()
        return await call

    assert asyncio.run(close_meanwhile()) == [[Reply("", failure="error")] * 2] * 2


def test_closing_what_was_never_asked_loads_nothing(make):
    backend = make()
    asyncio.run(backend.close())
    assert backend._decoder is None


def test_as_a_critic_it_abstains_where_its_words_are_no_verdict(folder, sums):
    params = TransformersParams(model=folder, max_tokens=6)
    critic = open_critic(params, Surroundings(sums, 0), cache=None)
    solutions = [Solution(Problem("sums/test/0", "add 0", "0"), ("1+1=2", "2+1=4"))] * 2

    async def both():
        try:
            return await critic.critique(solutions, 3)
        finally:
            await critic.close()

    critiques = asyncio.run(both())
    assert not critic.eager
    assert [len(row) for row in critiques] == [3, 3]
    assert all(each.wrong is None and each.abstained for row in critiques for each in row)
    assert [each.text for each in critiques[0]] == [each.text for each in critiques[1]]
