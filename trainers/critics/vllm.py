"""A critic's language model through vLLM's engine, started by this process and ended with it."""

from __future__ import annotations

import gc
import logging
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from evals.config import Positive
from evals.harness.engine import chunked_prefill, end, guarded
from trainers.credit.critique import Usage
from trainers.critics.backend import Reply
from trainers.critics.base import Critic, Surroundings
from trainers.critics.language import LanguageCritic
from trainers.critics.local import LocalBackend, LocalParams, Question, failures

log = logging.getLogger(__name__)


class VllmBackend(LocalBackend):
    """Samples from a model in vLLM; what prompts begin with in common is read once while it is kept.

    Reply i to a prompt is drawn with a seed made of the settings' seed, the prompt's text and i. vLLM does not promise
    the same arithmetic in another batch, so a draw may turn out otherwise there.

    Args:
        params: The settings.
        source: Folder or repository id of the model.
    """

    def __init__(self, params: VllmParams, source: str) -> None:
        super().__init__(params, source)
        self._settings = params.model_dump(include={*params.MACHINE, "max_model_len"})
        self._engine: Any = None
        self._guard: subprocess.Popen[bytes] | None = None

    def _load(self) -> tuple[Any, int | None]:
        from vllm import LLM

        params = self._params

        def start() -> None:
            self._engine = LLM(
                self._source,
                revision=params.revision,
                tokenizer_revision=params.revision,
                dtype=params.dtype,
                enable_prefix_caching=True,
                enable_chunked_prefill=chunked_prefill(),
                **self._settings,
            )

        self._guard = guarded(start)
        return self._engine.get_tokenizer(), self._engine.llm_engine.model_config.max_model_len

    def _free(self) -> None:
        engine, self._engine = self._engine, None
        assert self._guard is not None
        end(engine, self._guard)
        del engine
        gc.collect()

    def _answer(self, questions: Sequence[Question], n: int, first: int, greedy: bool) -> list[list[Reply]]:
        began = time.perf_counter()
        try:
            prompts = [{"prompt_token_ids": question.ids} for question in questions]
            sampling = [self._sampling(question, n, first, greedy) for question in questions]
            outputs = self._engine.generate(prompts, sampling, use_tqdm=False)
        except Exception:
            log.exception("vLLM failed on %d prompts; their replies fail", len(questions))
            return [failures(n) for _ in questions]
        seconds = time.perf_counter() - began
        return [self._replies(output, first, seconds) for output in outputs]

    def _sampling(self, question: Question, n: int, first: int, greedy: bool) -> Any:
        from vllm import SamplingParams

        if greedy:
            return SamplingParams(n=n, temperature=0.0, max_tokens=question.limit, detokenize=False)
        return SamplingParams(
            n=n,
            # vLLM gives the i-th of the n this seed plus i.
            seed=int.from_bytes(question.key[:6], "little") + first,
            temperature=self._params.temperature,
            top_p=self._params.top_p,
            max_tokens=question.limit,
            detokenize=False,
        )

    def _replies(self, output: Any, first: int, seconds: float) -> list[Reply]:
        """Return the replies to one prompt; it is told with reply 0: k cost the same however they are asked for."""
        read = Usage(prompt_tokens=len(output.prompt_token_ids), cached_tokens=output.num_cached_tokens or 0)
        return [
            self._reply(each, Usage() if first + each.index else read, seconds)
            for each in sorted(output.outputs, key=lambda each: each.index)
        ]

    def _reply(self, output: Any, read: Usage, seconds: float) -> Reply:
        """Return a reply, its text from the tokenizer as in every backend: vLLM's own cuts a broken last character."""
        ended = output.finish_reason == "stop"
        tokens = list(output.token_ids)
        text = self._tokenizer.decode(tokens[:-1] if ended else tokens, skip_special_tokens=True)
        return Reply(text, truncated=not ended, usage=replace(read, output_tokens=len(tokens), seconds=seconds))


class VllmParams(LocalParams):
    """Settings of a critic that runs in vLLM's engine.

    Attributes:
        gpu_memory_utilization: Share of the accelerator's memory that the engine takes; a policy trained on the same
            one needs the rest.
        max_model_len: Longest prompt and reply together; None is what the model has.
        tensor_parallel_size: Over how many accelerators the model is split.
        enforce_eager: Start sooner, without compilation, and run slower.
    """

    name: Literal["vllm"] = "vllm"
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.4
    max_model_len: Positive | None = None
    tensor_parallel_size: Positive = 1
    enforce_eager: bool = False

    MACHINE: ClassVar[frozenset[str]] = frozenset({"gpu_memory_utilization", "tensor_parallel_size", "enforce_eager"})

    def build(self, surroundings: Surroundings) -> Critic:
        """Return the critic; its engine is started when it is first asked.

        Raises:
            ValueError: The model is nowhere to be found: see `source`.
        """
        return LanguageCritic(VllmBackend(self, self.source(surroundings)), self.reference)
