"""Rows are told of as they end, once each, and what is sampled stays the same."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainers.watch import FinishedRows, watch_engine, watch_generate

END = 7


def test_a_row_is_told_of_when_its_end_token_comes_and_never_again():
    told = []
    rows = FinishedRows(2, [END], lambda row, ids: told.append((row, ids)))
    batch = torch.tensor([[0, 1, 5], [END, 1, END], [0, 1, 6]])
    assert not rows(batch, None).any()
    assert told == [(1, [END])]
    longer = torch.cat([batch, torch.tensor([[END], [END], [3]])], dim=1)
    assert not rows(longer, None).any()
    assert told == [(1, [END]), (0, [5, END])]


def test_an_end_token_in_the_prompt_is_none_of_its_business():
    told = []
    FinishedRows(2, [END], lambda row, ids: told.append(row))(torch.tensor([[END, END, 1]]), None)
    assert told == []


def test_watched_generation_samples_the_same_and_tells_of_every_row_that_ended(start):
    model = AutoModelForCausalLM.from_pretrained(start)
    tokenizer = AutoTokenizer.from_pretrained(start, padding_side="left")
    batch = tokenizer(["Ann has 3 coins.", "Bob", "How many?\n"], return_tensors="pt", padding=True)
    end = tokenizer.eos_token_id

    def sampled():
        torch.manual_seed(0)
        return model.generate(**batch, do_sample=True, max_new_tokens=60, pad_token_id=tokenizer.pad_token_id)

    plain, told = sampled(), {}
    with watch_generate(model, [end], told.__setitem__):
        watched = sampled()
    assert torch.equal(plain, watched)
    assert "generate" not in vars(model)
    new = plain[:, batch["input_ids"].shape[1] :].tolist()
    assert told == {row: ids[: ids.index(end) + 1] for row, ids in enumerate(new) if end in ids}


def request(number, finished, *ids):
    return SimpleNamespace(request_id=str(number), finished=finished, outputs=[SimpleNamespace(token_ids=ids)])


def test_an_engine_tells_of_requests_as_they_end_by_their_place_in_the_batch():
    class Core:
        steps = iter([[request(11, True, 5, END)], [request(10, False, 4), request(12, True, 6)], []])

        def step(self):
            return next(self.steps)

    engine, told = SimpleNamespace(llm_engine=Core(), request_counter=SimpleNamespace(counter=10)), []
    with watch_engine(engine, lambda row, ids: told.append((row, ids))):
        assert [output.request_id for output in engine.llm_engine.step()] == ["11"]
        assert told == [(1, [5, END])]
        engine.llm_engine.step()
        assert told == [(1, [5, END]), (2, [6])]  # the last was cut: it has no end token
    assert engine.llm_engine.step() == []
    assert "step" not in vars(engine.llm_engine)
