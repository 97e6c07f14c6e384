"""``capo-bench critic``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from capo_bench.cli.options import add_common_options
from capo_bench.cli.printing import print_json, print_page
from capo_bench.store.home import Home, read_json

if TYPE_CHECKING:
    from capo_bench.critic.ask import CritiqueTerms
    from capo_bench.critic.measure import MeasurementRequest
    from trainers.critics.base import CriticParams

EPILOG = """\b
Exit codes:
  0    measured
  1    too many critiques without a verdict
  2    bad input
  130  interrupted by Ctrl-C: the same command resumes with the stored critiques

\b
Examples:
  capo-bench critic noisy --data coins --set miss=0.2
  capo-bench critic voting --data coins
  capo-bench critic openai --set model=my-model --set base_url=http://127.0.0.1:8000/v1 \\
      --data processbench:gsm8k,math --limit 200
  capo-bench critic transformers --data prmbench --data-dir data -k 4
  capo-bench critic prm --data processbench --set model=Qwen/Qwen2.5-Math-PRM-7B --set format=qwen
"""


@click.command(epilog=EPILOG)
@click.argument("critic")
@click.option(
    "--data",
    required=True,
    metavar="NAME[:SUBSET,…]",
    help="coins, processbench, prm800k, hard2verify or prmbench, with the subsets to take.",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Local file or folder.  [default: the hub]")
@click.option("-k", "--critiques", type=click.IntRange(1), show_default="8", help="Critiques of each solution.")
@click.option("--limit", type=click.IntRange(1), help="Largest number of solutions, the same of each subset.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the draws, and of 'trial'.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Set a key of the critic.")
@click.option("--profile", default="quick", show_default=True, help="Profile of a study that names the critic.")
@click.option(
    "--neutral",
    type=click.Choice(["unlabelled", "right"]),
    default="unlabelled",
    show_default=True,
    help="Label of steps that are rated neutral (prm800k).",
)
@click.option("--no-greedy", is_flag=True, help="Ask for no critique at temperature 0.")
@click.option(
    "--max-abstained",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Largest share of critiques without a verdict; stop above it.",
)
@click.option("--no-critique-cache", is_flag=True, help="Neither store critiques nor use stored ones.")
@add_common_options
def critic(  # noqa: PLR0913, PLR0917 - one for each option
    critic: str,
    data: str,
    data_dir: Path | None,
    critiques: int | None,
    limit: int | None,
    seed: int,
    sets: tuple[str, ...],
    profile: str,
    neutral: Literal["unlabelled", "right"],
    no_greedy: bool,
    max_abstained: float,
    no_critique_cache: bool,
    home: Home,
    as_json: bool,
) -> None:
    """Measure CRITIC on solutions with labelled steps, with the prompt, parser and votes of training.

    CRITIC is a registered critic (exact, noisy, shuffled, random, transformers, vllm, openai), a study (its base
    critic), or prm, a process reward model. K critiques of every solution are sampled once; every voting rule
    is scored on the first 1, 2, 4, … K of them. A process reward model scores every solution once.
    """
    from capo_bench.critic.choose import choose_critic
    from capo_bench.critic.measure import MeasurementRequest
    from evals.critics.data import Selection
    from trainers.teaching import add_trial_seed

    name, _, subsets = data.partition(":")
    selection = Selection(tuple(filter(None, subsets.split(","))), data_dir, limit, seed, neutral)
    params = add_trial_seed(choose_critic(critic, profile, sets), seed)
    request = MeasurementRequest(params, name, selection, _read_terms(params, critiques, no_greedy, max_abstained))
    sys.exit(_measure(request, replace(home, keep_critiques=not no_critique_cache), as_json=as_json))


def _read_terms(params: CriticParams, critiques: int | None, no_greedy: bool, max_abstained: float) -> CritiqueTerms:
    from capo_bench.critic.ask import CritiqueTerms
    from capo_bench.critic.prm import PrmParams

    if not isinstance(params, PrmParams):
        return CritiqueTerms(critiques or CritiqueTerms.critiques, not no_greedy, max_abstained)
    if critiques is not None or no_greedy:
        raise click.UsageError("a process reward model gives the same scores every time; leave out -k and --no-greedy")
    return CritiqueTerms(0, True, max_abstained)


def _measure(request: MeasurementRequest, home: Home, *, as_json: bool) -> int:
    from capo_bench.critic.ask import TooManyAbstainedError
    from capo_bench.critic.measure import measure
    from capo_bench.critic.summary import summarise
    from capo_bench.evaluation.watch import Watch
    from capo_bench.pages.critic import RESULT, build_measurement_page, write_measurement
    from capo_bench.run.meter import meter

    try:
        with meter() as shown:
            watcher = Watch(shown, request.critic.name)
            measured = measure(request, home, watcher.critic, watcher.emit)
        summary = summarise(measured)
        folder = write_measurement(measured, summary, home)
        if as_json:
            print_json(read_json(folder / RESULT))
        else:
            print_page(build_measurement_page(measured, summary))
            click.echo(f"report: {folder / 'report.html'}")
    except TooManyAbstainedError as error:
        click.echo(str(error), err=True)
        return 1
    except KeyboardInterrupt:
        click.echo("interrupted; the same command resumes with the stored critiques", err=True)
        return 130
    return 0
