"""Run a model in vLLM's engine, which this process starts and ends."""

from __future__ import annotations

import gc
import subprocess
from collections.abc import Sequence
from typing import Any, get_args

import vllm

from evals.models.base import Likelihood, Sampling
from evals.models.conventions import read_conventions
from evals.models.engine import choose_chunked_prefill, end, start_guarded
from evals.models.folders import ModelFolders, convert_errors, locate
from evals.models.local import LocalModel, PromptTokens, Written, describe_packages
from evals.models.spec import ModelSpec


class VllmModel(LocalModel):
    """A model in vLLM, on the GPU if this build supports one; a common prefix of prompts is computed once.

    Completion i of a prompt is sampled with a seed made from the seed, the prompt and i. vLLM does not guarantee the
    same arithmetic in another batch, so a completion may differ there.

    Raises:
        ModelError: Its template cannot be rendered, or there is no end token.
    """

    def __init__(self, engine: Any, guard: subprocess.Popen[bytes], place: ModelFolders, spec: ModelSpec) -> None:
        from transformers import AutoTokenizer, GenerationConfig

        self._engine, self._guard = engine, guard
        self._adapter = (
            None if place.adapter is None else vllm.lora.request.LoRARequest("adapter", 1, str(place.adapter))
        )
        tokenizer = AutoTokenizer.from_pretrained(place.tokenizer, trust_remote_code=False)
        settings: Any = GenerationConfig
        try:
            generation = settings.from_pretrained(place.model)
        except OSError:  # the file does not exist
            generation = None
        held = engine.llm_engine.model_config
        conventions = read_conventions(spec.template, held.hf_config, generation, tokenizer)
        packages = {**describe_packages("torch", "transformers"), "vllm": vllm.__version__}
        described = {**place.identity(), "dtype": str(held.dtype).removeprefix("torch."), "packages": packages}
        super().__init__(tokenizer, conventions, spec, held.max_model_len, {"backend": "vllm", **described})

    @classmethod
    def open(cls, spec: ModelSpec) -> VllmModel:
        """Load a model.

        Raises:
            ModelError: There is no model, or it cannot be loaded.
        """
        place = locate(spec.model, spec.revision)
        engines: list[Any] = []
        with convert_errors(spec.model):
            settings = _make_settings(place, spec)
            guard = start_guarded(lambda: engines.append(vllm.LLM(**settings)))
        try:
            return cls(engines[0], guard, place, spec)
        except BaseException:
            end(engines[0], guard)
            raise

    def _continue(
        self, questions: Sequence[PromptTokens], n: int, sampling: Sampling, first: int
    ) -> list[list[Written]]:
        prompts: Any = [{"prompt_token_ids": question.ids} for question in questions]
        asked = [self._make_sampling(question, n, sampling, first) for question in questions]
        outputs = self._engine.generate(prompts, asked, use_tqdm=False, lora_request=self._adapter)
        return [self._read_output(output) for output in outputs]

    def _make_sampling(self, question: PromptTokens, n: int, sampling: Sampling, first: int) -> Any:
        return vllm.SamplingParams(
            n=n,
            seed=question.seed + first if sampling.temperature else None,  # vLLM adds the index of a completion
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=question.limit,
            stop_token_ids=sorted(self.conventions.ends),
            detokenize=False,
        )

    def _read_output(self, output: Any) -> list[Written]:
        cached = output.num_cached_tokens or 0
        ordered = sorted(output.outputs, key=lambda each: each.index)
        return [Written(list(each.token_ids), each.finish_reason == "stop", cached) for each in ordered]

    def _score(self, pairs: Sequence[tuple[list[int], list[int]]]) -> list[Likelihood]:
        asked = vllm.SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=1, detokenize=False)
        prompts: Any = [{"prompt_token_ids": [*context, *continuation]} for context, continuation in pairs]
        # With an adapter, vLLM 0.31 fails at the log-probabilities of several prompts at once.
        size = len(prompts) if self._adapter is None else 1
        outputs = [
            output
            for begin in range(0, len(prompts), size)
            for output in self._engine.generate(
                prompts[begin : begin + size], asked, use_tqdm=False, lora_request=self._adapter
            )
        ]
        return [
            _read_likelihood(output, continuation) for output, (_, continuation) in zip(outputs, pairs, strict=True)
        ]

    def _free(self) -> None:
        engine, self._engine = self._engine, None
        end(engine, self._guard)
        del engine
        gc.collect()


def _read_likelihood(output: Any, continuation: Sequence[int]) -> Likelihood:
    """Return the likelihood of a prompt's last tokens; each position has its own token and the most likely one."""
    places = output.prompt_logprobs[-len(continuation) :]
    own = [place[token] for place, token in zip(places, continuation, strict=True)]
    return Likelihood(sum(each.logprob for each in own), all(each.rank == 1 for each in own))


def _make_settings(place: ModelFolders, spec: ModelSpec) -> dict[str, Any]:
    adapter = {"enable_lora": True, "max_lora_rank": _rank_to_allow(place.rank or 1)} if place.adapter else {}
    return {
        "model": place.model,
        "tokenizer": place.tokenizer,
        "dtype": _read_stored_dtype(place) if spec.dtype == "auto" else spec.dtype,
        "max_model_len": spec.max_length,
        "gpu_memory_utilization": spec.gpu_memory_utilization,
        "tensor_parallel_size": spec.tensor_parallel_size,
        "enforce_eager": spec.enforce_eager,
        "enable_prefix_caching": True,
        "enable_chunked_prefill": choose_chunked_prefill(),
        "generation_config": "vllm",  # ignore the repository's recommendations
        "trust_remote_code": False,
        **adapter,
    }


def _read_stored_dtype(place: ModelFolders) -> str:
    """Return the precision of the stored weights, because vLLM's ``auto`` would load float32 as 16 bits."""
    from transformers import AutoConfig

    stored = AutoConfig.from_pretrained(place.model, trust_remote_code=False).dtype
    return "auto" if stored is None else str(stored).removeprefix("torch.")


def _rank_to_allow(rank: int) -> int:
    """Return the smallest of vLLM's ranks that is at least an adapter's; the largest if none is."""
    from vllm.config.lora import MaxLoRARanks

    ranks: list[int] = sorted(get_args(MaxLoRARanks))
    return next((each for each in ranks if each >= rank), ranks[-1])
