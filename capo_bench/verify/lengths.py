"""Compare lengths in tokens with those by the model's tokenizer, if it is here."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.store.home import Home
from capo_bench.study.identity import hash_cold_start
from capo_bench.verify.checks import Check
from evals.harness.folder import GENERATIONS, read_task, read_whole_batches
from evals.models.prompt import choose_template, encode, render
from trainers.backbones import BACKBONES

if TYPE_CHECKING:
    from capo_bench.study.plan import Trial


class Lengths:
    """Counts tokens as a trial's model does, if the model or its cold start is in the results folder."""

    def __init__(self, trial: Trial, home: Home) -> None:
        key = hash_cold_start(trial.config)
        folders = [home.trial(trial.id).model, *([home.stage("cold_start", key)] if key else [])]
        self._folder = next((folder for folder in folders if (folder / "tokenizer_config.json").exists()), None)
        self._trial = trial

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return None if self._folder is None else AutoTokenizer.from_pretrained(self._folder, trust_remote_code=False)

    @cached_property
    def _template(self) -> Any:
        from transformers import AutoConfig

        assert self._folder is not None
        config = AutoConfig.from_pretrained(self._folder, trust_remote_code=False)
        return choose_template(BACKBONES.load(self._trial.config.backbone).template, config, self._tokenizer)

    def prompt(self, check: Check, where: str, text: str, tokens: int) -> None:
        """Compare the number of tokens of a prompt; `text` is without a template."""
        if self._folder is None or not (self._folder / "config.json").exists():
            check.leave("lengths of prompts, which only the policy's tokenizer tells")
        else:
            derived = len(encode(render(text, self._template, self._tokenizer), self._tokenizer))
            check.equal(f"{where} prompt_tokens", tokens, derived)

    def completions(self, check: Check, folder: Path, name: str) -> None:
        """Compare the lengths of a task's completions with the limit and with the fewest tokens of their text.

        `name` is the folder's name in messages.
        """
        longest = read_task(folder).identity["sampling"]["max_tokens"]
        for number, line in enumerate(read_whole_batches(folder / GENERATIONS)[0], 1):
            where, tokens, text = f"{name}/{GENERATIONS}:{number}", line["tokens"], line["completion"]
            if line["failure"] is not None or "ranking" in line:
                continue
            if line["truncated"] or tokens > longest:
                check.equal(f"{where} tokens of one that was cut", tokens, longest)
            elif self._tokenizer is None:
                check.leave("lengths of completions, which only the model's tokenizer tells")
            elif "\ufffd" in text:
                check.take("lengths of completions that are no whole text")
            else:
                least = count_least(text, self._words)
                check.equal(f"{where} tokens", tokens, tokens if tokens >= least else f"at least {least}")

    @cached_property
    def _words(self) -> frozenset[str]:
        """The text of every token."""
        return frozenset(self._tokenizer.batch_decode([[token] for token in range(len(self._tokenizer))]))


def count_least(text: str, words: Collection[str]) -> int:
    """Return the fewest tokens that can make a text: a model can sample others than the tokenizer would choose.

    `words` are the texts of all tokens. Characters outside ASCII can be parts of several tokens and do not count.
    """
    longest = max(map(len, words))
    least = [0] * (len(text) + 1)
    for end in range(1, len(text) + 1):
        ways = [least[start] + 1 for start in range(max(0, end - longest), end) if text[start:end] in words]
        free = [] if text[end - 1].isascii() else [least[end - 1]]
        least[end] = min([*ways, *free], default=least[end - 1])
    return least[-1]
