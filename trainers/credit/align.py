"""Find the step of every completion token from the token ids, without encoding text again.

Encoding the decoded text again can give other tokens than the policy sampled. Therefore each token is assigned the
characters that its own bytes produce in the decoded text. A token belongs to the step of its first character: if a
token contains the end of a step and also the separator or the start of the next step, it belongs to the step in which
it begins. A token that adds no character (the end-of-sequence token, the later bytes of a character) belongs to the
step of the preceding character.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from trainers.credit.arrays import BoolArray, IntArray
from trainers.credit.segment import Segmenter, Span, list_step_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PADDING = -1


@dataclass(frozen=True)
class Alignment:
    """A batch of completions, cut into steps.

    Attributes:
        texts: The decoded completions without special tokens.
        steps: The text of each completion's steps as critics read them; at least one step each.
        index: Step of every token, shape (B, T); -1 for padding.
        pieces: The text that each token adds to its completion; empty for special tokens and for the later bytes of a
            character. The concatenated pieces are the text.
    """

    texts: list[str]
    steps: list[tuple[str, ...]]
    index: IntArray
    pieces: list[tuple[str, ...]]

    @property
    def tokens(self) -> list[tuple[int, ...]]:
        """Number of tokens in each step of each completion."""
        pairs = zip(self.index, self.steps, strict=True)
        return [tuple(np.bincount(row[row >= 0], minlength=len(steps)).tolist()) for row, steps in pairs]


def index_steps(batch: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase, segmenter: Segmenter) -> Alignment:
    """Cut completions into steps and find the step of each token.

    Args:
        batch: Token ids of B completions, without padding.
        tokenizer: The policy's tokenizer.
        segmenter: From `trainers.credit.segment.SEGMENTERS`.
    """
    index = np.full((len(batch), max(map(len, batch), default=0)), PADDING, dtype=np.int64)
    texts, steps, pieces = [], [], []
    for row, ids in enumerate(batch):
        text, starts, ends = find_token_spans(ids, tokenizer)
        spans = segmenter(text)
        texts.append(text)
        steps.append(list_step_texts(text, spans))
        pieces.append(tuple(text[start:end] for start, end in pairwise([0, *ends.tolist()])))
        index[row, : len(ids)] = map_tokens_to_steps(starts, ends, spans)
    return Alignment(texts, steps, index, pieces)


def map_tokens_to_steps(starts: IntArray, ends: IntArray, spans: Sequence[Span]) -> IntArray:
    """Return the step of every token, shape (T,).

    Args:
        starts: First character of each token, shape (T,).
        ends: Character after each token's last, shape (T,); equal to `starts` for a token that adds none.
        spans: The steps, a partition of the text.
    """
    character: IntArray = np.maximum(np.where(ends > starts, starts, starts - 1), 0)
    step_starts = np.fromiter((start for start, _ in spans), dtype=np.int64, count=len(spans))
    # The index of the last step that starts at or before the character.
    return np.searchsorted(step_starts, character, side="right").astype(np.int64) - 1


def find_token_spans(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> tuple[str, IntArray, IntArray]:
    """Decode a completion and find the characters of each token.

    For byte-level BPE tokenizers (GPT-2, Qwen, Llama 3) this uses the bytes of the tokens, in time linear in the
    length. For any other tokenizer it decodes every prefix, in quadratic time.

    Args:
        ids: Token ids, including special tokens. Ids that the tokenizer does not know decode to nothing.
        tokenizer: The policy's tokenizer. It must not change after its first use here.

    Returns:
        The text that ``tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)`` returns,
        and the tokens' `starts` and `ends` in characters, shape (T,) each. Tokens that share a character overlap.
    """
    pieces = _get_byte_pieces(tokenizer)
    return _find_spans_by_prefix(ids, tokenizer) if pieces is None else _find_spans_by_bytes(ids, pieces)


@dataclass(frozen=True)
class _BytePieces:
    """The bytes of every token id; the last entry, for unknown ids, is empty."""

    pieces: list[bytes]
    lengths: IntArray

    def rows(self, ids: Sequence[int]) -> IntArray:
        """Return the entries of the ids, shape (T,)."""
        row = np.asarray(ids, dtype=np.int64)
        unknown = len(self.pieces) - 1
        return np.where((row < 0) | (row > unknown), unknown, row)


def _find_spans_by_bytes(ids: Sequence[int], table: _BytePieces) -> tuple[str, IntArray, IntArray]:
    rows = table.rows(ids)
    data = b"".join([table.pieces[row] for row in rows.tolist()])
    text, opens = _decode_characters(data)
    lengths = table.lengths[rows]
    byte_ends = np.cumsum(lengths)
    # The number of characters that begin before each byte, and before the end of the text.
    before = np.concatenate(([0], np.cumsum(opens)))
    character_of_byte = np.append(before[1:] - 1, before[-1])
    starts = np.where(lengths > 0, character_of_byte[byte_ends - lengths], before[byte_ends])
    return text, starts, before[byte_ends]


def _decode_characters(data: bytes) -> tuple[str, BoolArray]:
    """Decode UTF-8 and mark the bytes that begin a character; each invalid run becomes one replacement character."""
    opens = (np.frombuffer(data, dtype=np.uint8) & 0xC0) != 0x80
    done = 0
    while True:
        try:
            data[done:].decode()
        except UnicodeDecodeError as error:
            opens[done + error.start : done + error.end] = False
            opens[done + error.start] = True
            done += error.end
        else:
            return data.decode(errors="replace"), opens


def _find_spans_by_prefix(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> tuple[str, IntArray, IntArray]:
    prefixes = [_decode(tokenizer, ids[:count]) for count in range(len(ids) + 1)]
    lengths = np.array([len(prefix) for prefix in prefixes], dtype=np.int64)
    # An incomplete character can decode to more replacement characters than the complete one, so a prefix can be longer
    # than a later prefix. The minimum over all later prefixes corrects this.
    ends = np.minimum.accumulate(lengths[::-1])[::-1]
    return prefixes[-1], ends[:-1], ends[1:]


def _decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))


_TABLES: WeakKeyDictionary[PreTrainedTokenizerBase, _BytePieces | None] = WeakKeyDictionary()


def _get_byte_pieces(tokenizer: PreTrainedTokenizerBase) -> _BytePieces | None:
    """Return the tokenizer's byte table, which is created at first use; None if the tokenizer is not byte-level."""
    if tokenizer not in _TABLES:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        byte_level = type(getattr(backend, "decoder", None)).__name__ == "ByteLevel"
        _TABLES[tokenizer] = _make_pieces(backend) if byte_level else None
    return _TABLES[tokenizer]


def _make_pieces(backend: Any) -> _BytePieces:
    vocabulary: dict[str, int] = backend.get_vocab(with_added_tokens=True)
    pieces = [b""] * (max(vocabulary.values(), default=-1) + 2)
    special = {token for token in backend.get_added_tokens_decoder().values() if token.special}
    skipped = {token.content for token in special}
    for token, row in vocabulary.items():
        if token not in skipped:
            pieces[row] = _encode_token(token)
    return _BytePieces(pieces, np.array([len(piece) for piece in pieces], dtype=np.int64))


def _encode_token(token: str) -> bytes:
    """Return the bytes of a byte-level token; encode a token with other characters (an added token) as plain text."""
    try:
        return token.translate(_TO_BYTE).encode("latin-1")
    except UnicodeEncodeError:
        return token.encode()


def _make_byte_alphabet(printable: Iterable[range]) -> dict[int, int]:
    """Return GPT-2's table: from the code point that represents a byte to the byte.

    Printable Latin-1 characters represent themselves. The other bytes are represented, in order, by the code points
    from 256 on. Code points below 256 that represent no byte are mapped to a code point outside Latin-1, so that
    encoding a token that contains one fails.
    """
    own = {byte for part in printable for byte in part}
    others = [byte for byte in range(256) if byte not in own]
    return {**dict.fromkeys(others, 0xFFFF), **{256 + place: byte for place, byte in enumerate(others)}}


_TO_BYTE = _make_byte_alphabet((range(0x21, 0x7F), range(0xA1, 0xAD), range(0xAE, 0x100)))
