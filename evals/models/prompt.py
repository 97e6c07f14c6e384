"""Build the prompt of a text in the model's own template: its chat template, if it has one."""

from __future__ import annotations

import ctypes
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from evals.models.base import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Template = Literal["bare", "plain", "chat", "message"]
"""Form of a prompt.

``bare`` is the text alone, ``plain`` the text after an instruction, ``chat`` a user message with the instruction in the
tokenizer's chat template, and ``message`` a user message without the instruction. Without a chat template, ``message``
is the text alone.
"""

TEMPLATES: tuple[Template, ...] = get_args(Template)
MARK = "capo_bench_template"
"""Key of a model's ``config.json`` that names the template it was trained with."""

TEMPLATE_DATE = datetime(2026, 1, 1)
"""The date in every chat template that requests it (``strftime_now``), so that prompts are the same every day."""

SECONDS = 10.0
"""Time limit in seconds for a chat template to render one message."""

INSTRUCTION = (
    "Solve the problem step by step. Separate the steps with blank lines. "
    "Put the final answer, and nothing else, in \\boxed{} in the last step.\n\n"
)


def choose_template(wanted: str, config: Any, tokenizer: PreTrainedTokenizerBase) -> Template:
    """Return a model's template: the requested one, else that of its training, else its chat template or ``plain``.

    Raises:
        ModelError: The template is unknown, or is ``chat`` and the tokenizer has none.
    """
    if wanted == "auto":
        wanted = getattr(config, MARK, None) or ("chat" if tokenizer.chat_template else "plain")
    for template in TEMPLATES:
        if template == wanted:
            break
    else:
        raise ModelError(f"unknown template {wanted!r}; known: auto, {', '.join(TEMPLATES)}")
    if template == "chat" and not tokenizer.chat_template:
        raise ModelError("template 'chat' needs a chat template, and the model's tokenizer has none; say 'plain'")
    return template


def render(text: str, template: Template, tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the text that the model continues.

    If a chat template starts with the beginning-of-sequence token and the tokenizer adds it again, it is removed here.
    The text of special tokens in a message is broken up, because a solution must not end the user's turn.

    Raises:
        ModelError: The chat template cannot be rendered.
    """
    if template == "bare":
        return text
    if template == "plain":
        return f"{INSTRUCTION}{text}\n\n"
    message = _disarm(INSTRUCTION + text if template == "chat" else text, tokenizer)
    if not tokenizer.chat_template:
        return message
    prompt = render_turns([{"role": "user", "content": message}], tokenizer, opened=True)
    bos = tokenizer.bos_token
    doubled = bool(bos) and tokenizer(prompt)["input_ids"][:2] == [tokenizer.bos_token_id] * 2
    return prompt.removeprefix(str(bos)) if doubled else prompt


def render_turns(turns: Sequence[Mapping[str, str]], tokenizer: PreTrainedTokenizerBase, *, opened: bool) -> str:
    """Return turns, with role and content, in the tokenizer's template; the date in it is `TEMPLATE_DATE`.

    Raises:
        ModelError: The template cannot be rendered, or takes longer than `SECONDS`.
    """
    try:
        with _limit_time(SECONDS):
            rendered = tokenizer.apply_chat_template(
                [dict(turn) for turn in turns],
                tokenize=False,
                add_generation_prompt=opened,
                strftime_now=TEMPLATE_DATE.strftime,
            )
    except Exception as error:  # a template is a program, and may raise any error
        reason = f"it runs for more than {SECONDS:g} s" if isinstance(error, TimeoutError) else _describe(error)
        raise ModelError(
            f"the chat template of {tokenizer.name_or_path!r} cannot be rendered ({reason}); correct it "
            "(chat_template.jinja of the model), or use template 'plain', which does without it"
        ) from error
    return str(rendered)


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


@contextmanager
def _limit_time(seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` in this thread after a time limit; it interrupts a template's loops, which run in Python."""
    thread = ctypes.c_ulong(threading.get_ident())
    timer = threading.Timer(
        seconds, ctypes.pythonapi.PyThreadState_SetAsyncExc, (thread, ctypes.py_object(TimeoutError))
    )
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # a late TimeoutError is raised here


def _disarm(text: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the text without special tokens: each gets a space after its first character."""
    for token in tokenizer.added_tokens_decoder.values():
        if token.special and len(token.content) > 1:
            text = text.replace(token.content, f"{token.content[0]} {token.content[1:]}")
    return text


def encode(text: str, tokenizer: PreTrainedTokenizerBase, *, special: bool = True) -> list[int]:
    """Return the tokens of a rendered text; if `special`, with the tokenizer's beginning-of-sequence token, once."""
    begun = bool(tokenizer.bos_token) and text.startswith(str(tokenizer.bos_token))
    ids: list[int] = tokenizer.encode(text, add_special_tokens=special and not begun)
    return ids


def hash_template(template: Template, chat_template: Any) -> str:
    """Return a short content hash of the template around a text."""
    date = TEMPLATE_DATE.isoformat()
    turn = [chat_template, date] if chat_template else []
    around = {"bare": [], "plain": [INSTRUCTION], "chat": [INSTRUCTION, *turn], "message": turn}[template]
    return hashlib.sha256(json.dumps([template, *around]).encode()).hexdigest()[:12]
