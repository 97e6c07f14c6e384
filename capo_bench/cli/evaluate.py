"""``capo-bench eval``."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capo_bench.cli.completion import complete_trial
from capo_bench.cli.options import add_common_options
from capo_bench.cli.printing import print_json, print_page
from capo_bench.store.home import Home, read_json

if TYPE_CHECKING:
    from rich.console import Console

    from capo_bench.evaluation.reading import Options
    from capo_bench.store.evaluations import Evaluated

EPILOG = """\b
Exit codes:
  0         evaluated
  1         a stage stopped: too many completions failed, or too many critiques have no verdict
  2         bad input
  130, 143  interrupted by Ctrl-C, by SIGTERM: the same command resumes

\b
Examples:
  capo-bench eval Qwen/Qwen2.5-1.5B-Instruct --suite math
  capo-bench eval outputs/my-lora --task math500 --task aime24 -k 8 --data-dir data
  capo-bench eval outputs/my-lora --task gsm8k --no-greedy -k 8 --temperature 0.7
  capo-bench eval 3f9c --suite coins --critic noisy --set miss=0.1
  capo-bench eval my-model --backend openai --base-url http://127.0.0.1:8000/v1 --suite ood
  capo-bench eval 3f9c2a --rescore
"""

K = click.IntRange(1)
SHARE = click.FloatRange(0, 1)


@click.command(name="eval", epilog=EPILOG)
@click.argument("model", shell_complete=complete_trial)
@click.option("--suite", "suites", multiple=True, metavar="NAME", help="paper, math, ood, smoke or coins; repeatable.")
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="A task, as in math500; repeatable.")
@click.option("--backend", type=click.Choice(["hf", "vllm", "openai"]), default="hf", show_default=True)
@click.option("--base-url", metavar="URL", help="Address of the endpoint's API (openai).")
@click.option("--revision", help="Revision of the repository.")
@click.option(
    "--dtype", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), help="Precision of the weights."
)
@click.option(
    "--template",
    type=click.Choice(["auto", "bare", "plain", "chat"]),
    help="Form of the prompt.  [default: that of its training]",
)
@click.option("--batch-size", type=K, help="Number of prompts at a time.")
@click.option("--max-length", type=K, help="Longest prompt and completion together, in tokens.")
@click.option("--concurrency", type=K, help="Most requests to an endpoint at a time.")
@click.option("--greedy/--no-greedy", default=True, show_default=True, help="Answer each problem at temperature 0.")
@click.option(
    "-k", "--samples", type=click.IntRange(0), help="Sampled answers of each problem.  [default: the task's own]"
)
@click.option(
    "--temperature",
    type=click.FloatRange(0, 2, min_open=True),
    help="Temperature of sampling.  [default: the task's own, or 1]",
)
@click.option(
    "--top-p", type=click.FloatRange(0, 1, min_open=True), help="Top-p of sampling.  [default: the task's own]"
)
@click.option("--max-tokens", type=K, help="Longest completion.  [default: the task's own]")
@click.option(
    "--answers",
    type=click.Choice(["boxed", "stated", "last_number"]),
    help="Where a completion may contain its answer.  [default: the task's own]",
)
@click.option("--limit", type=K, help="Number of problems of each task, always the same ones.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the sampling.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Local files of the tasks.  [default: the hub]")
@click.option("--critic", metavar="NAME|STUDY", help="Judge of the steps.  [default: a task's exact checker]")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Set a key of the critic.")
@click.option("--profile", default="quick", show_default=True, help="Profile of a study that names the critic.")
@click.option("--critiques", type=K, help="Critiques of each completion.  [default: 4]")
@click.option("--vote", metavar="RULE", help="Voting rule over the critiques of a step.  [default: majority]")
@click.option("--at-least", type=K, help="Critiques that must agree (--vote at_least).")
@click.option("--max-abstained", type=SHARE, default=0.5, show_default=True, help="Share of critiques without verdict.")
@click.option("--no-critique-cache", is_flag=True, help="Neither store critiques nor use stored ones.")
@click.option("--max-failed", type=SHARE, default=0.1, show_default=True, help="Share of completions that may fail.")
@click.option(
    "--rescore", is_flag=True, help="Score stored completions again; MODEL may be an evaluation's name or id."
)
@click.option(
    "--export", type=click.Path(file_okay=False, path_type=Path), help="Also write lm-eval's JSON to this folder."
)
@click.option("--no-tracking", "no_track", is_flag=True, help="Write nothing to MLflow.")
@add_common_options
def evaluate(model: str, export: Path | None, no_track: bool, home: Home, as_json: bool, **given: Any) -> None:
    """Measure MODEL on benchmarks: greedy and sampled answers, shares with intervals, and cost.

    MODEL is a folder, a repository id of the hub, a LoRA adapter, the name at an endpoint, or a trial's id. Completions
    are stored at once, so the same command resumes after any interruption, and asks for nothing twice.
    """
    from capo_bench.evaluation.reading import Options

    home = replace(home, keep_critiques=not given.pop("no_critique_cache"))
    held = {key: given.pop(key) for key in _HELD}
    sampling = {key: given.pop(key) for key in ("temperature", "top_p", "max_tokens")}
    options = Options(model=model, held=held, sampling=sampling, **given)
    sys.exit(_evaluate(options, home, export, track=not no_track, as_json=as_json))


_HELD = ("backend", "base_url", "revision", "dtype", "template", "batch_size", "max_length", "concurrency")


def _evaluate(options: Options, home: Home, export: Path | None, *, track: bool, as_json: bool) -> int:
    from rich.console import Console

    from capo_bench.critic.ask import TooManyAbstainedError
    from capo_bench.pages.evaluation import build_evaluation_page
    from capo_bench.run.progress import say
    from evals.harness.identity import EvaluationError

    console = Console(stderr=True)
    try:
        evaluated = _run(options, home, console)
        if export is not None:
            _export(evaluated, export)
        if track:
            from capo_bench.track.evaluation import track as write

            write(evaluated, home, lambda text: say(console, text, "yellow"))
        if as_json:
            print_json(read_json(evaluated.files.results))
        else:
            print_page(build_evaluation_page(evaluated))
            click.echo(f"report: {evaluated.files.page}")
    except (EvaluationError, TooManyAbstainedError) as error:
        click.echo(str(error), err=True)
        return 1
    except KeyboardInterrupt as stopped:
        click.echo("interrupted; the same command resumes where it stopped", err=True)
        return 143 if stopped.args else 130
    return 0


def _run(options: Options, home: Home, console: Console) -> Evaluated:
    import signal

    from capo_bench.evaluation.reading import read_request
    from capo_bench.evaluation.run import evaluate, rescore
    from capo_bench.evaluation.watch import Watch
    from capo_bench.pages.evaluation import write_evaluation
    from capo_bench.run.meter import meter

    request = read_request(options, home)
    ended: list[int] = []
    before = signal.signal(signal.SIGTERM, partial(_handle_terminate, ended))
    try:
        with meter(console) as shown:
            return (rescore if options.rescore else evaluate)(request, home, Watch(shown), write_evaluation)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(*ended) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _handle_terminate(ended: list[int], number: int, frame: object) -> None:
    """Handle SIGTERM like Ctrl-C, which all stages handle: files are closed, requests cancelled, workers ended."""
    import signal

    ended.append(number)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)


def _export(evaluated: Evaluated, folder: Path) -> None:
    from evals.harness.export import export

    commit = read_json(evaluated.files.provenance)["git"]["commit"]
    folders = [evaluated.files.task(result.task) for result in evaluated.results]
    path = export(folders, folder, model=evaluated.record["model"], git_hash=commit)
    click.echo(f"lm-eval's JSON: {path}", err=True)
