from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from transformers import MistralConfig, MistralForCausalLM
from transformers.cache_utils import DynamicLayer

from evals.models.base import Sampling
from evals.models.decode import Decoder, RoomyLayer, choose, count_shared, make_cache, place_texts
from evals.models.draws import draw_key, draw_numbers, draw_seed, make_uniform_draws
from trainers.backbones import BackboneConfig
from trainers.backbones.tiny import build_model, build_tokenizer

KEYS = [b"a", b"b", b"c", b"d"]
BEGIN = [11, 12, 13]
PROMPTS = [[*BEGIN, 5, 6], [*BEGIN, 7], [*BEGIN, 5, 6, 9, 8, 20, 21], [*BEGIN, 30, 31, 32]]


@pytest.fixture(scope="module")
def full():
    tokenizer = build_tokenizer(["Ann has 3 coins. Ann finds 4.\n\n3 + 4 = 7"])
    return build_model(BackboneConfig(source="embedded", width=32, layers=2), tokenizer, seed=0).eval()


@pytest.fixture(scope="module")
def sliding():
    """A model whose layers look back a few positions only: its cache keeps no more than those."""
    torch.manual_seed(0)
    shape = MistralConfig(
        vocab_size=50, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=4, initializer_range=0.3,
    )  # fmt: skip
    return MistralForCausalLM(shape).eval()


@pytest.fixture(params=["full", "sliding"])
def model(request):
    return request.getfixturevalue(request.param)


def plain(model, prompt, draws, ends=()):
    """The same by the book: the whole text is read anew for every token."""
    ids = list(prompt)
    for draw in draws:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1].double().numpy()
        shares = np.exp(logits - logits.max())
        ids.append(int(np.searchsorted(np.cumsum(shares / shares.sum()), draw, side="right")))
        if ids[-1] in ends:
            break
    return ids[len(prompt) :]


WARM = Sampling(1.0, 1.0, 40)


def decode(model, ends, prompts, limits, n, draws, sampling=WARM):
    return Decoder(model, ends).decode(prompts, limits, n, sampling, draws)


def written(rows):
    return [[each.ids for each in row] for row in rows]


@pytest.mark.parametrize("n", [1, 3, 9])
def test_completions_are_those_of_reading_the_whole_text_anew(model, n):
    draws = draw_numbers(KEYS, 0, n, 12)
    rows = decode(model, {-1}, PROMPTS, [12] * 4, n, draws)
    wanted = [
        [plain(model, *each) for each in zip([p] * n, row, strict=True)] for p, row in zip(PROMPTS, draws, strict=True)
    ]
    assert written(rows) == wanted


def test_greedy_is_what_generate_writes(model):
    rows = decode(model, {-1}, PROMPTS, [20] * 4, 2, None)
    for prompt, many in zip(PROMPTS, written(rows), strict=True):
        wanted = model.generate(torch.tensor([prompt]), max_new_tokens=20, do_sample=False, eos_token_id=None)
        assert many == [wanted[0, len(prompt) :].tolist()] * 2


def test_an_end_token_ends_a_completion_alone(model):
    # Every seventh token ends: completions of one row end at different places, and rows are dropped on the way.
    ends = set(range(0, 512, 7))
    draws = draw_numbers(KEYS, 0, 3, 40)
    rows = decode(model, ends, PROMPTS, [40] * 4, 3, draws)
    lengths = set()
    for prompt, row, numbers in zip(PROMPTS, rows, draws, strict=True):
        for one, own in zip(row, numbers, strict=True):
            wanted = plain(model, prompt, own, ends)
            assert (one.ids, one.ended) == (wanted, True)
            lengths.add(len(wanted))
    assert len(lengths) > 4


def test_each_prompt_has_a_limit_of_its_own(model):
    rows = decode(model, {-1}, PROMPTS, [1, 5, 3, 2], 2, draw_numbers(KEYS, 0, 2, 5))
    assert [[len(each.ids) for each in row] for row in rows] == [[1, 1], [5, 5], [3, 3], [2, 2]]
    assert not any(each.ended for row in rows for each in row)


def test_the_limit_may_fall_on_the_end_token(full):
    [[one]] = decode(full, range(512), [[3]], [1], 1, draw_numbers(KEYS[:1], 0, 1, 1))
    assert (len(one.ids), one.ended) == (1, True)


@pytest.mark.parametrize("order", [[3, 1, 0, 2], [2], [0, 1]])
def test_company_changes_nothing(model, order):
    warm = Sampling(0.7, 0.9, 30)
    draws = draw_numbers(KEYS, 0, 4, 30)
    together = written(decode(model, {-1}, PROMPTS, [30] * 4, 4, draws, warm))
    some = decode(model, {-1}, [PROMPTS[row] for row in order], [30] * len(order), 4, draws[order], warm)
    assert written(some) == [together[row] for row in order]


def test_equal_prompts_and_prompts_that_begin_others(full):
    prompts = [[3, 4], [3, 4], [3, 4, 5], [3]]
    draws = draw_numbers(KEYS, 0, 2, 6)
    rows = written(decode(full, {-1}, prompts, [6] * 4, 2, draws))
    assert rows == [[plain(full, p, own) for own in row] for p, row in zip(prompts, draws, strict=True)]


def test_completions_are_read_together_until_they_differ(full):
    widths = []
    full.model.embed_tokens.register_forward_hook(lambda _module, inputs, _output: widths.append(inputs[0].numel()))
    same = np.tile(draw_numbers(KEYS[:1], 0, 1, 6), (1, 5, 1))
    same[0, 4, 3] = (same[0, 4, 3] + 0.5) % 1  # the fifth completion differs at its fourth token
    [row] = written(decode(full, {-1}, PROMPTS[:1], [6], 5, same))
    assert row[0] == row[1] == row[2] == row[3]
    assert row[0][:3] == row[4][:3]
    assert row[0][3] != row[4][3]
    assert widths == [5, 1, 1, 1, 2, 2], "the prompt, three tokens once, then those of two texts"


@pytest.mark.parametrize(
    ("prompts", "shared"),
    [
        # Two beginnings of 3 tokens and four rests of at most 2, 6 + 8 = 14 tokens; 4 prompts of 5 would be 20.
        ([[1, 2, 3, 4, 5], [1, 2, 3, 6], [1, 7, 8, 9], [1, 7, 8, 5, 2]], 3),
        # One beginning of 2: 2 + 2 * 2 = 6; of 3 tokens there are two: 2 * 3 + 2 * 1 = 8.
        ([[1, 2, 3, 4], [1, 2, 5, 6]], 2),
        ([[1, 2, 3], [4, 5, 6]], 0),
        ([[1, 2, 3]], 0),
        ([[1, 2, 3], [1, 2, 3], [1, 2, 3]], 2),
        ([[1], [1, 2, 3]], 0),
    ],
)
def test_what_prompts_begin_with_alike_is_read_once(prompts, shared):
    assert count_shared(prompts) == shared


def test_a_beginning_of_some_prompts_changes_nothing(full):
    prompts = [[*begin, *rest] for begin in (BEGIN, [40, 41, 42, 43]) for rest in ([5, 6], [7], [8, 9, 20])]
    draws = draw_numbers([bytes([number]) for number in range(6)], 0, 2, 8)
    rows = written(decode(full, {-1}, prompts, [8] * 6, 2, draws))
    assert count_shared(prompts) == 3
    assert rows == [[plain(full, p, own) for own in row] for p, row in zip(prompts, draws, strict=True)]


def test_only_layers_that_see_all_positions_get_room(full, sliding):
    assert {type(layer) for layer in make_cache(full, 1, 9).layers} == {RoomyLayer}
    assert RoomyLayer not in {type(layer) for layer in make_cache(sliding, 1, 9).layers}


@given(st.lists(st.lists(st.integers(0, 9), max_size=9).map(sorted), min_size=1, max_size=4), st.integers(1, 10))
def test_a_roomy_layer_holds_what_its_parent_holds(selections, count):
    layer, parent = RoomyLayer(20, 40), DynamicLayer()
    for size, selection in zip([7, 1, 30, 1], [*selections, [], [], []], strict=False):
        new = torch.randn(count, 2, size, 4)
        for held, expected in zip(layer.update(new, -new), parent.update(new, -new), strict=True):
            assert held.equal(expected)
        indices = torch.tensor([index % count for index in selection] or range(count))
        layer.batch_select_indices(indices)
        parent.batch_select_indices(indices)
        assert layer.keys.equal(parent.keys)
        assert layer.values.equal(parent.values)
        count = len(indices)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=20).map(sorted))
def test_texts_fill_the_rows_and_few_move(sources):
    place = place_texts(torch.tensor(sources)).tolist()
    assert sorted(place) == list(range(len(sources)))
    assert {row for row in sources if row < len(sources)} == {
        row for row, text in enumerate(sorted(range(len(place)), key=place.__getitem__)) if sources[text] == row
    }


LOGITS = torch.log(torch.tensor([0.4, 0.05, 0.0, 0.3, 0.05, 0.2], dtype=torch.float64)) + 3.0


@pytest.mark.parametrize(
    ("temperature", "top_p", "shares"),
    [
        (1.0, 1.0, [0.4, 0.05, 0.0, 0.3, 0.05, 0.2]),
        # Squared: 0.16, 0.0025, 0, 0.09, 0.0025, 0.04 of 0.295.
        (0.5, 1.0, [160 / 295, 2.5 / 295, 0.0, 90 / 295, 2.5 / 295, 40 / 295]),
        # The fewest tokens that hold 0.6 are the first and the fourth; those that hold 0.8 take the last along.
        (1.0, 0.6, [4 / 7, 0, 0, 3 / 7, 0, 0]),
        (1.0, 0.8, [4 / 9, 0, 0, 3 / 9, 0, 2 / 9]),
        (1.0, 0.01, [1, 0, 0, 0, 0, 0]),
    ],
)
def test_tokens_come_as_often_as_they_should(temperature, top_p, shares):
    draws = torch.from_numpy(make_uniform_draws(b"fixed", 0, 6000).copy())
    (chosen,) = choose(LOGITS[None], Sampling(temperature, top_p, 1), draws[None])
    seen, wanted = np.bincount(chosen, minlength=6), 6000 * np.array(shares)
    possible = wanted > 0
    assert not seen[~possible].any()
    if possible.sum() > 1:
        assert stats.chisquare(seen[possible], wanted[possible]).pvalue > 0.01


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.floats(-30, 30), min_size=1, max_size=9),
    st.one_of(st.floats(0, 1, exclude_max=True), st.sampled_from([0.0, 1 - 2**-53])),
    st.sampled_from([0.01, 0.5, 1.0]),
)
def test_any_number_below_one_draws_a_possible_token(logits, draw, top_p):
    forbidden = torch.tensor([-torch.inf, *logits, -torch.inf])
    ((token,),) = choose(forbidden[None], Sampling(1.0, top_p, 1), torch.tensor([[draw]], dtype=torch.float64))
    assert 1 <= token <= len(logits)


def test_a_completions_numbers_are_its_own():
    assert np.array_equal(make_uniform_draws(b"k", 3, 50)[:20], make_uniform_draws(b"k", 3, 20))
    split = [draw_numbers(KEYS, 0, 2, 5), draw_numbers(KEYS, 2, 3, 5)]
    assert np.array_equal(np.concatenate(split, axis=1), draw_numbers(KEYS, 0, 5, 5))
    assert len(np.unique(draw_numbers(KEYS, 0, 5, 50))) == 4 * 5 * 50


def test_draws_are_keyed_by_seed_and_text():
    keys = {draw_key(0, "a"), draw_key(0, "b"), draw_key(1, "a"), draw_key(0, "\ud800")}
    assert len(keys) == 4
    assert draw_key(0, "a") == draw_key(0, "a")
    assert 0 <= draw_seed(0, "a") < 2**30, "so that an index may be added for any server"
