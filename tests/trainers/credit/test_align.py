from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainers.credit.align import find_token_spans, index_steps, map_tokens_to_steps
from trainers.credit.segment import blank_lines, lines

shared_fixtures = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
texts = st.text(st.sampled_from("ab. é😀全\n\r "), max_size=30) | st.text(max_size=20)


def decoded(ids, tokenizer):
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def encoded(tokenizer, *tokens):
    ids = tokenizer.convert_tokens_to_ids(list(tokens))
    assert None not in ids
    return ids


def steps_of(ids, tokenizer, segmenter=blank_lines):
    return index_steps([ids], tokenizer, segmenter).index[0].tolist()


def test_tokens_and_steps_of_a_plain_completion(qwen):
    ids = qwen("ab\n\ncd").input_ids
    assert qwen.convert_ids_to_tokens(ids) == ["a", "b", "ĊĊ", "c", "d"]
    text, starts, ends = find_token_spans(ids, qwen)
    assert (text, starts.tolist(), ends.tolist()) == ("ab\n\ncd", [0, 1, 2, 4, 5], [1, 2, 4, 5, 6])
    assert steps_of(ids, qwen) == [0, 0, 0, 1, 1]


def test_a_token_over_a_boundary_belongs_where_it_begins(merging):
    over = next(token for token in merging.get_vocab() if token.endswith(".ĊĊShe"))
    ids = [*encoded(merging, "a", over, "b")]
    text = decoded(ids, merging)
    spans = blank_lines(text)
    assert text.endswith(".\n\nSheb")
    assert len(spans) == 2
    assert steps_of(ids, merging) == [0, 0, 1]


def test_a_token_that_covers_a_whole_step_leaves_that_step_without_tokens():
    starts, ends = np.array([0, 1, 9]), np.array([1, 9, 10])
    assert map_tokens_to_steps(starts, ends, [(0, 3), (3, 6), (6, 10)]).tolist() == [0, 0, 2]


def test_two_single_line_breaks_end_a_step_like_one_double(qwen):
    ids = encoded(qwen, "a", "Ċ", "Ċ", "b")
    assert steps_of(ids, qwen) == [0, 0, 0, 1]


def test_a_character_of_several_tokens_is_shared_by_them(qwen):
    ids = qwen("a😀b").input_ids
    assert len(ids) == 6  # the emoji is four bytes, one token each
    text, starts, ends = find_token_spans(ids, qwen)
    assert text == "a😀b"
    assert starts.tolist() == [0, 1, 1, 1, 1, 2]
    assert ends.tolist() == [1, 2, 2, 2, 2, 3]


def test_bytes_after_a_boundary_character_stay_with_it(qwen):
    ids = qwen("a\n\n😀").input_ids
    assert steps_of(ids, qwen) == [0, 0, 1, 1, 1, 1]


def test_the_end_token_belongs_to_the_last_step(qwen):
    ids = [*qwen("a\n\nb").input_ids, qwen.eos_token_id]
    text, starts, ends = find_token_spans(ids, qwen)
    assert text == "a\n\nb"
    assert (starts[-1], ends[-1]) == (4, 4)
    assert steps_of(ids, qwen) == [0, 0, 1, 1]


def test_the_end_token_after_a_separator_belongs_to_the_step_before_it(qwen):
    assert steps_of([*qwen("a\n\n").input_ids, qwen.eos_token_id], qwen) == [0, 0, 0]


def test_special_tokens_inside_go_with_the_character_before(merging):
    ids = encoded(merging, "<|im_end|>", "a", "Ċ", "Ċ", "<|im_end|>", "b")
    assert decoded(ids, merging) == "a\n\nb"
    assert steps_of(ids, merging) == [0, 0, 0, 0, 0, 1]


def test_added_tokens_are_plain_text(merging):
    ids = encoded(merging, "a", "<dénke> ", "b")
    text, starts, ends = find_token_spans(ids, merging)
    assert text == decoded(ids, merging) == "a<dénke> b"
    assert (starts.tolist(), ends.tolist()) == ([0, 1, 9], [1, 9, 10])


def test_ids_beyond_the_vocabulary_decode_to_nothing(qwen):
    ids = [*qwen("a").input_ids, len(qwen), 10**6, *qwen("b").input_ids]
    text, starts, ends = find_token_spans(ids, qwen)
    assert text == decoded(ids, qwen) == "ab"
    assert (starts.tolist(), ends.tolist()) == ([0, 1, 1, 1], [1, 1, 1, 2])


def test_half_a_character_at_the_end_is_one_replacement(qwen):
    ids = qwen("a😀").input_ids[:-1]
    text, starts, ends = find_token_spans(ids, qwen)
    assert text == decoded(ids, qwen) == "a\ufffd"
    assert (starts.tolist(), ends.tolist()) == ([0, 1, 1, 1], [1, 2, 2, 2])


def test_completions_without_text_have_one_step(qwen):
    alignment = index_steps([[], [qwen.eos_token_id], qwen("a\n\nb").input_ids], qwen, blank_lines)
    assert alignment.texts == ["", "", "a\n\nb"]
    assert alignment.steps == [("",), ("",), ("a", "b")]
    assert alignment.index.tolist() == [[-1, -1, -1], [0, -1, -1], [0, 0, 1]]


def test_an_empty_batch_is_an_empty_index(qwen):
    assert index_steps([], qwen, blank_lines).index.shape == (0, 0)
    assert index_steps([[]], qwen, blank_lines).index.shape == (1, 0)


@shared_fixtures
@given(ids=st.lists(st.integers(0, 340), max_size=40))
def test_any_ids_give_the_text_that_the_tokenizer_decodes(merging, qwen, ids):
    for tokenizer in (merging, qwen):
        text, starts, ends = find_token_spans(ids, tokenizer)
        assert text == decoded(ids, tokenizer)
        assert len(starts) == len(ends) == len(ids)
        assert (starts <= ends).all()
        assert (np.diff(map_tokens_to_steps(starts, ends, blank_lines(text))) >= 0).all()
        assert (np.diff(ends) >= 0).all()
        assert not ids or ends[-1] == len(text)


@shared_fixtures
@given(text=texts)
def test_spans_are_those_that_the_tokenizer_reports_when_encoding(merging, text):
    encoding = merging(text, return_offsets_mapping=True)
    _, starts, ends = find_token_spans(encoding.input_ids, merging)
    assert list(zip(starts.tolist(), ends.tolist(), strict=True)) == encoding.offset_mapping


@shared_fixtures
@given(batch=st.lists(texts, max_size=4), segmenter=st.sampled_from([blank_lines, lines]), extra=st.integers(0, 2))
def test_every_token_is_in_one_step_and_padding_in_none(merging, batch, segmenter, extra):
    ids = [[*merging(text).input_ids, *[merging.eos_token_id] * extra] for text in batch]
    alignment = index_steps(ids, merging, segmenter)
    for row, tokens, steps in zip(alignment.index, ids, alignment.steps, strict=True):
        own = row[: len(tokens)]
        assert ((own >= 0) & (own < len(steps))).all()
        assert (row[len(tokens) :] == -1).all()
        assert (np.diff(own) >= 0).all()
        assert not tokens or own[0] == 0
    assert [len(pieces) for pieces in alignment.pieces] == [len(tokens) for tokens in ids]
    assert ["".join(pieces) for pieces in alignment.pieces] == alignment.texts


def test_the_first_token_of_a_character_has_it_and_the_others_and_the_end_have_nothing(qwen):
    ids = [*qwen("a😀b").input_ids, qwen.eos_token_id]
    assert index_steps([ids], qwen, blank_lines).pieces == [("a", "😀", "", "", "", "b", "")]


def test_other_tokenizers_go_by_decoded_prefixes(byte_fallback):
    ids = encoded(byte_fallback, "▁a", "▁b", "\n\n", "<0xE5>", "<0x85>", "<0xA8>", "▁a", "</s>")
    text, starts, ends = find_token_spans(ids, byte_fallback)
    assert text == decoded(ids, byte_fallback) == "a b\n\n全 a"
    assert starts.tolist() == [0, 1, 3, 5, 6, 6, 6, 8]
    assert ends.tolist() == [1, 3, 5, 6, 6, 6, 8, 8]
    assert steps_of(ids, byte_fallback) == [0, 0, 0, 1, 1, 1, 1, 1]


@shared_fixtures
@given(ids=st.lists(st.integers(0, 260), max_size=20))
def test_decoded_prefixes_give_monotone_spans(byte_fallback, ids):
    text, starts, ends = find_token_spans(ids, byte_fallback)
    assert text == decoded(ids, byte_fallback)
    assert (starts <= ends).all()
    assert (starts[1:] == ends[:-1]).all()
    assert not ids or (starts[0], ends[-1]) == (0, len(text))
