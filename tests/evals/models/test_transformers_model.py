"""A model in Transformers: counts, ends, seeds, limits, adapters, likelihoods, identity."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tinymodel import PROBLEMS, PROMPTS, save_model, tokenizer_of_coins

from evals.models.base import Likelihood, ModelError, Sampling
from evals.models.open import open_model
from evals.models.spec import read_spec
from evals.models.transformers import TransformersModel, find_device
from trainers.backbones.tiny import MAX_POSITIONS

GREEDY = Sampling(0.0, 1.0, 12)


def sampling(max_tokens=12, temperature=1.0, top_p=1.0):
    return Sampling(temperature, top_p, max_tokens)


def complete(model, prompts, sampling, seed, n=1, first=0):
    return asyncio.run(model.complete(prompts, n, sampling, seed=seed, first=first))


def generate(model, prompts, sampling, seed):
    """One completion of each prompt: its text, its tokens and whether the limit cut it."""
    rows = complete(model, prompts, sampling, seed)
    return [(one.text, one.usage.output_tokens, one.end == "length") for [one] in rows]


def texts(rows):
    return [[completion.text for completion in row] for row in rows]


def opened(folder, **settings):
    return open_model(read_spec(model=str(folder), **{"batch_size": 4, **settings}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return Path(save_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def backend(folder):
    return opened(folder)


def rewritten(folder, target, name, **values):
    """Return a copy of a model with some values of one of its JSON files set."""
    shutil.copytree(folder, target)
    path = target / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return target


@pytest.fixture
def ending(backend, monkeypatch):
    """Let the model choose, at each place, between going on with ``a`` and ending."""
    tokenizer = backend.tokenizer
    allowed = torch.full((len(tokenizer),), float("-inf"))
    allowed[[tokenizer.convert_tokens_to_ids("a"), tokenizer.eos_token_id]] = 0.0
    forward = type(backend.model).forward

    def restrained(self, *args, **kwargs):
        output = forward(self, *args, **kwargs)
        output.logits = output.logits * 0 + allowed
        return output

    monkeypatch.setattr(type(backend.model), "forward", restrained)


def test_the_same_seed_gives_the_same_completions_bit_by_bit(backend, folder):
    assert generate(backend, PROMPTS, sampling(), 1) == generate(backend, PROMPTS, sampling(), 1)
    assert generate(backend, PROMPTS, sampling(), 1) == generate(opened(folder), PROMPTS, sampling(), 1)
    assert generate(backend, PROMPTS, sampling(), 1) != generate(backend, PROMPTS, sampling(), 2)


def test_the_global_random_state_is_neither_read_nor_moved(backend):
    torch.manual_seed(11)
    first = generate(backend, PROMPTS, sampling(), 1)
    torch.manual_seed(12)
    before = torch.get_rng_state()
    second = generate(backend, PROMPTS, sampling(), 1)
    assert torch.equal(torch.get_rng_state(), before)
    assert first == second


def test_n_completions_are_different_samples(backend):
    [row] = complete(backend, PROMPTS[:1], sampling(), 1, n=6)
    assert len({completion.text for completion in row}) > 1


@pytest.mark.parametrize("batch_tokens", [1, 200, 10**6])
def test_neither_batch_nor_order_nor_company_changes_a_completion(backend, folder, batch_tokens):
    together = texts(complete(backend, PROMPTS, sampling(), 1, n=3))
    other = opened(folder, batch_tokens=batch_tokens)
    assert texts(complete(other, PROMPTS[::-1], sampling(), 1, n=3)) == together[::-1]
    assert [texts(complete(other, [prompt], sampling(), 1, n=3))[0] for prompt in PROMPTS] == together


def test_completions_asked_for_in_parts_are_those_asked_for_at_once(backend):
    at_once = texts(complete(backend, PROMPTS, sampling(), 1, n=5))
    first = texts(complete(backend, PROMPTS, sampling(), 1, n=2))
    rest = texts(complete(backend, PROMPTS, sampling(), 1, n=3, first=2))
    assert [one + more for one, more in zip(first, rest, strict=True)] == at_once


def test_greedy_completions_are_all_one_and_share_its_cost(backend):
    alone, together = (complete(backend, PROMPTS, GREEDY, 1, n=n) for n in (1, 3))
    assert texts(together) == [row * 3 for row in texts(alone)]
    for [one], row in zip(alone, together, strict=True):
        for part in ("prompt_tokens", "output_tokens"):
            assert sum(getattr(completion.usage, part) for completion in row) == getattr(one.usage, part)


def test_nearly_cold_is_nearly_greedy(backend):
    assert generate(backend, PROMPTS, sampling(temperature=1e-6), 1) == generate(backend, PROMPTS, GREEDY, 1)


def test_usage_adds_up_to_what_was_read_and_written(backend):
    for prompt, row in zip(PROMPTS, complete(backend, PROMPTS, sampling(), 1, n=3), strict=True):
        read = len(backend.tokenizer(prompt)["input_ids"])
        assert [completion.usage.prompt_tokens for completion in row] == [read, 0, 0]
        assert all(one.usage.cached_tokens == 0 and one.usage.seconds > 0 for one in row)
        assert all(one.usage.output_tokens == 12 for one in row if one.end == "length")


def test_completions_cost_the_same_however_they_are_asked_for(backend):
    together = complete(backend, PROMPTS, sampling(), 1, n=3)
    parts = [complete(backend, PROMPTS, sampling(), 1, n=n, first=first) for n, first in ((1, 0), (2, 1))]
    apart = [one + more for one, more in zip(*parts, strict=True)]
    costs = [
        [[(c.usage.prompt_tokens, c.usage.output_tokens) for c in row] for row in rows] for rows in (together, apart)
    ]
    assert costs[0] == costs[1]


def test_completions_come_in_the_order_of_the_prompts(backend, folder):
    # Of unlike lengths, so that some pad.
    prompts = ["Ann", "How many? Ann spends", "coins", "Bob has 3", "Ann finds 4. Ann makes"]
    alone = [generate(backend, [prompt], GREEDY, 1)[0] for prompt in prompts]
    assert len({text for text, _, _ in alone}) > 2
    assert generate(opened(folder), prompts, GREEDY, 1) == alone


def test_tokens_are_counted_with_the_end_and_without_padding(backend, ending):
    completions = [one for seed in range(10) for one in generate(backend, PROMPTS, sampling(3), seed)]
    assert {truncated for _, _, truncated in completions} == {True, False}
    for text, tokens, truncated in completions:
        # Every token but the end is an "a".
        assert text == "a" * (tokens - (not truncated))
        assert tokens == 3 if truncated else tokens <= 3


def test_temperature_0_takes_the_most_likely_token_whatever_the_seed(backend):
    first = generate(backend, PROMPTS, GREEDY, 1)
    assert generate(backend, PROMPTS, GREEDY, 2) == first
    # With top-p this small, only the most likely token is left.
    assert generate(backend, PROMPTS, sampling(top_p=1e-6), 1) == first
    ids = backend.tokenizer(PROMPTS[0], return_tensors="pt")["input_ids"]
    for _ in range(GREEDY.max_tokens):
        ids = torch.cat([ids, backend.model(ids).logits[:, -1:].argmax(-1)], dim=1)
    new = ids[0, -GREEDY.max_tokens :].tolist()
    assert backend.tokenizer.eos_token_id not in new
    assert first[0] == (backend.tokenizer.decode(new), GREEDY.max_tokens, True)


def test_what_a_repository_recommends_for_generation_is_not_used(backend, folder, tmp_path):
    biased = rewritten(
        folder, tmp_path / "m", "generation_config.json",
        repetition_penalty=5.0, top_k=1, top_p=0.1, temperature=0.1, do_sample=False, max_new_tokens=1,
    )  # fmt: skip
    assert generate(opened(biased), PROMPTS, sampling(), 1) == generate(backend, PROMPTS, sampling(), 1)


def test_every_end_that_a_model_names_ends(backend, folder, tmp_path):
    # What the model says most at the second place of some greedy completion is named as a second end.
    ids = backend.tokenizer(PROMPTS[0], return_tensors="pt")["input_ids"]
    word = int(backend.model(ids).logits[0, -1].argmax())
    ends = rewritten(folder, tmp_path / "m", "generation_config.json", eos_token_id=[word])
    with_two = opened(ends)
    assert generate(with_two, PROMPTS[:1], GREEDY, 1) == [("", 1, False)]
    assert with_two.conventions.ends == {word, backend.tokenizer.eos_token_id}


def test_a_prompt_that_does_not_fit_is_found_before_any_work(backend, folder):
    words = "9 + " * (MAX_POSITIONS // 2)
    with pytest.raises(ModelError, match=r"a prompt of \d+ tokens and a completion of 12 .* the 1024 tokens") as caught:
        backend.check([PROMPTS[0], words], sampling())
    assert "leave the task out, or set max_length" in str(caught.value)
    with pytest.raises(ModelError, match="completion of 5000"):
        backend.check(PROMPTS, sampling(5000))
    length = len(backend.tokenizer(PROMPTS[0])["input_ids"]) + 12
    opened(folder, max_length=length).check(PROMPTS[:1], sampling())
    with pytest.raises(ModelError, match=f"the {length - 1} tokens"):
        opened(folder, max_length=length - 1).check(PROMPTS[:1], sampling())


def test_a_prompt_without_room_fails_and_the_others_do_not(backend):
    fits = "3" * (MAX_POSITIONS - 1)
    rows = complete(backend, ["3" * MAX_POSITIONS, PROMPTS[0], "", fits], sampling(), 1, n=2)
    assert [row[0].end for row in (rows[0], rows[2])] == ["error", "error"]
    assert "does not fit the model's 1024 positions" in rows[0][0].text
    assert texts([rows[1]]) == texts(complete(backend, PROMPTS[:1], sampling(), 1, n=2))
    # One position is left: one token, then cut.
    assert [one.usage.output_tokens for one in rows[3]] == [1, 1]


class Small:
    """Runs out of memory on one length of prompt."""

    def __init__(self, decoder, length):
        self._decoder, self._length = decoder, length

    def decode(self, ids, *rest):
        if len(ids[0]) == self._length:
            raise MemoryError("no room for this one")
        return self._decoder.decode(ids, *rest)


def test_a_batch_that_the_model_cannot_compute_fails_alone(folder, caplog):
    model = opened(folder, batch_tokens=1)
    whole = texts(complete(model, PROMPTS, sampling(), 1, n=2))
    lengths = [len(model.encode(prompt)) for prompt in PROMPTS]
    failing = [length == lengths[0] for length in lengths]
    model._decoder = Small(model._decoder, lengths[0])
    rows = complete(model, PROMPTS, sampling(), 1, n=2)
    assert [row[0].failed for row in rows] == failing
    assert texts(row for row, bad in zip(rows, failing, strict=True) if not bad) == [
        row for row, bad in zip(whole, failing, strict=True) if not bad
    ]
    assert "no room for this one" in caplog.text


def test_calls_may_overlap_and_the_loop_stays_free(backend):
    alone = [texts(complete(backend, [prompt], sampling(40), 1, n=2))[0] for prompt in PROMPTS]

    async def ticks(until):
        count = 0
        while not until.done():
            await asyncio.sleep(0)
            count += 1
        return count

    async def together():
        calls = asyncio.gather(*(backend.complete([prompt], 2, sampling(40), seed=1) for prompt in PROMPTS))
        return await ticks(calls), await calls

    count, rows = asyncio.run(together())
    assert [texts(each)[0] for each in rows] == alone
    assert count > 10


def test_closing_ends_a_decoding_that_would_go_on_and_on(folder):
    model = opened(folder, batch_tokens=10**9)
    began = threading.Event()
    stopped = lambda: began.set() or model._closed.is_set()  # noqa: E731
    model._decoder, model.positions = replace(model._decoder, ends={-1}, stopped=stopped), None

    async def close_meanwhile():
        call = asyncio.create_task(model.complete(["1", "1 + 1"], 2, sampling(10**5), seed=1))
        await asyncio.to_thread(began.wait, 60)
        await model.close()
        return await call

    assert [[one.end for one in row] for row in asyncio.run(close_meanwhile())] == [["error"] * 2] * 2


@torch.no_grad()
def by_hand(backend, context, continuation):
    """The log-probability of each token of a continuation, added up, and whether each was the most likely one."""
    read = backend.tokenizer(context)["input_ids"]
    whole = backend.tokenizer(context + continuation)["input_ids"]
    logprobs = backend.model(torch.tensor([whole])).logits[0].log_softmax(-1)
    places = range(len(read) - 1, len(whole) - 1)
    total = sum(float(logprobs[place, whole[place + 1]]) for place in places)
    return total, all(int(logprobs[place].argmax()) == whole[place + 1] for place in places)


def test_likelihoods_are_those_of_a_computation_by_hand(backend):
    # lm-eval counts white space at the end of a context to the continuation: there is none here.
    one, other = PROMPTS[0].strip(), PROMPTS[1].strip()
    likely = generate(backend, [one], Sampling(0.0, 1.0, 1), 1)[0][0]
    pairs = [(one, " 3"), (other, " Ann has 3 coins."), (one, " 4"), (one, likely)]
    found = backend.score(pairs)
    for pair, likelihood in zip(pairs, found, strict=True):
        logprob, greedy = by_hand(backend, *pair)
        assert likelihood == Likelihood(pytest.approx(logprob, abs=1e-4), greedy)
    assert [likelihood.greedy for likelihood in found] == [False, False, False, True]


def test_likelihoods_are_those_of_lm_evals_own_class_to_the_last_digit(backend):
    continuations = (" 3", " Ann has 3 coins.", " 4", "\n\n3 + 4 = 7")
    pairs = [
        *((prompt.strip(), continuation) for prompt in PROMPTS for continuation in continuations),
        ("", "Ann has 3"),
        ("trailing spaces   ", "move"),
    ]
    stock = HFLM(backend.model, tokenizer=backend.tokenizer, batch_size=4)
    requests = [Instance("loglikelihood", {}, pair, place) for place, pair in enumerate(pairs)]
    before = torch.get_rng_state()
    assert [(each.logprob, each.greedy) for each in backend.score(pairs)] == stock.loglikelihood(requests)
    assert torch.equal(torch.get_rng_state(), before), "scoring draws nothing"


def test_a_pair_that_does_not_fit_is_told_not_cut(backend):
    with pytest.raises(ModelError, match=r"has \d+ tokens and the model takes 1023"):
        backend.score([("9 + " * MAX_POSITIONS, " 3")])


def test_the_templates_of_models(backend, folder, tmp_path):
    assert backend.prompt(PROBLEMS[0].prompt) == PROBLEMS[0].prompt
    assert backend.identity()["template"] == "bare"
    assert opened(folder, template="plain").prompt("Why?").startswith("Solve the problem step by step.")
    plain = rewritten(folder, tmp_path / "m", "config.json", capo_bench_template=None)
    assert opened(plain).identity()["template"] == "plain"


def test_identity_is_of_the_content(backend, folder, tmp_path):
    identity = backend.identity()
    assert json.loads(json.dumps(identity)) == identity
    assert {"backend": "hf", "dtype": "float32"}.items() <= identity.items()
    assert set(identity["packages"]) == {"torch", "transformers"}
    assert str(folder) not in json.dumps(identity)
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert opened(copy).identity() == identity
    assert opened(save_model(tmp_path / "other", seed=1)).identity() != identity


def test_a_dtype_can_be_asked_for_and_is_told_as_it_was_loaded(folder):
    half = opened(folder, dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16
    assert half.identity()["dtype"] == "bfloat16"
    assert len(generate(half, PROMPTS, sampling(), 1)) == len(PROMPTS)


@pytest.fixture(scope="module")
def adapter(folder, tmp_path_factory):
    return make_adapter(folder, tmp_path_factory.mktemp("adapter"))


def make_adapter(base, target):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(5)
        # Untrained adapters change nothing; this one is drawn at random.
        lora = LoraConfig(
            r=4, lora_alpha=64, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"
        )
        get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora).save_pretrained(target)
    return target


def test_an_adapter_is_measured_on_its_base(backend, folder, adapter):
    adapted = opened(adapter)
    completions = generate(adapted, PROMPTS, GREEDY, 1)
    assert completions != generate(backend, PROMPTS, GREEDY, 1)
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), str(adapter)).merge_and_unload()
    by_merging = TransformersModel(merged, tokenizer_of_coins(), read_spec(model="merged"), {})
    assert generate(by_merging, PROMPTS, GREEDY, 1) == completions
    assert adapted.score([(PROMPTS[0], " 3")]) != backend.score([(PROMPTS[0], " 3")])


def test_the_ends_hold_for_an_adapter_too(backend, folder, tmp_path):
    base = rewritten(folder, tmp_path / "m", "generation_config.json", repetition_penalty=5.0, do_sample=True, top_k=1)
    adapted, plain = opened(make_adapter(base, tmp_path / "a")), opened(make_adapter(folder, tmp_path / "b"))
    assert generate(adapted, PROMPTS, sampling(), 1) == generate(plain, PROMPTS, sampling(), 1)


def test_identity_names_the_adapter_beside_its_base(backend, adapter):
    identity = opened(adapter).identity()
    assert identity["weights"] == backend.identity()["weights"]
    assert len(identity["adapter"]) == 12
    assert "peft" in identity["packages"]


def refused(model, **settings):
    with pytest.raises(ModelError) as caught:
        opened(model, **settings)
    return str(caught.value)


def test_a_folder_that_is_not_there(tmp_path):
    assert f"there is no folder {tmp_path / 'no'}" in refused(tmp_path / "no")
    assert "there is no folder ./no" in refused("./no")


def test_a_folder_that_holds_no_model(folder, tmp_path):
    assert "neither config.json (a model) nor adapter_config.json" in refused(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert "holds no weights" in refused(tmp_path)
    assert "revision 'abc' is for a repository" in refused(folder, revision="abc")


def test_a_broken_model_says_which_and_why(folder, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "m")
    (broken / "model.safetensors").write_bytes(b"not weights")
    assert refused(broken).startswith(f"model '{broken}' cannot be opened: ")


def test_an_adapter_whose_base_is_gone(adapter, tmp_path):
    lost = rewritten(adapter, tmp_path / "lost", "adapter_config.json", base_model_name_or_path="/no/such/base")
    said = refused(lost)
    assert f"the base '/no/such/base' of the adapter {lost} is not there" in said
    assert "write the base's folder or repository id as base_model_name_or_path" in said
    nameless = rewritten(adapter, tmp_path / "nameless", "adapter_config.json", base_model_name_or_path=None)
    assert "names no base model" in refused(nameless)
    (nameless / "adapter_config.json").write_text("{")
    assert "adapter_config.json cannot be read" in refused(nameless)


def test_a_tokenizer_without_an_end(folder, tmp_path):
    endless = rewritten(folder, tmp_path / "m", "tokenizer_config.json", eos_token=None)
    (endless / "special_tokens_map.json").unlink(missing_ok=True)
    assert opened(endless).conventions.ends, "the generation settings name one"
    for name in ("config.json", "generation_config.json"):
        path = endless / name
        path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": None}))
    assert "names no end token; add eos_token" in refused(endless)


def test_closing_frees_the_model_and_what_is_asked_later_fails(folder):
    model = opened(folder)
    weights = weakref.ref(model.model)
    asyncio.run(model.close())
    gc.collect()
    assert weights() is None
    assert [one.end for one in complete(model, ["1"], sampling(), 1, n=2)[0]] == ["error"] * 2


def test_nothing_is_said_on_the_terminal(folder, capfd, caplog):
    model = opened(folder)
    generate(model, PROMPTS, sampling(), 1)
    generate(model, PROMPTS, GREEDY, 1)
    model.score([(PROMPTS[0], " 3")])
    asyncio.run(model.close())
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_each_of_several_processes_has_a_gpu_of_its_own(monkeypatch):
    """Whatever thread asks: `cuda` alone is the first GPU in each thread but the main one."""
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    for there, rank, device in ((False, "3", "cpu"), (True, "3", "cuda:3"), (True, None, "cuda:0")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        monkeypatch.setenv("LOCAL_RANK", rank) if rank else monkeypatch.delenv("LOCAL_RANK")
        assert find_device() == device
