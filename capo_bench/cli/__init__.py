"""The command line. A command's module is imported only when the command runs, which keeps ``--help`` fast."""

from __future__ import annotations

import errno
import os
import sys
from pkgutil import resolve_name
from typing import IO, Any

import click

# Import path and help line of each command by its name; `--help` shows them without importing commands.
COMMANDS = {
    "ls": ("capo_bench.cli.ls:ls", "List the shipped studies, their questions and costs."),
    "init": ("capo_bench.cli.init:init", "Write a commented study to start from."),
    "validate": ("capo_bench.cli.validate:validate", "Check study files; report all errors at once."),
    "plan": ("capo_bench.cli.plan:plan", "Show a study's variants, shared models and time, without running it."),
    "doctor": ("capo_bench.cli.doctor:doctor", "Check this machine against a study; say what is missing."),
    "run": ("capo_bench.cli.run:run", "Run a study's trials; run it again to resume."),
    "status": ("capo_bench.cli.status:status", "Show which trials are done, running, failed or pending."),
    "gc": ("capo_bench.cli.gc:gc", "Show what can be deleted from the results folder; delete it."),
    "sync": ("capo_bench.cli.sync:sync", "Send missing runs to MLflow."),
    "report": ("capo_bench.cli.report:report", "Make tables, figures and one page of a study's results."),
    "revote": ("capo_bench.cli.revote:revote", "Apply other votes to the critiques that training stored."),
    "credit": ("capo_bench.cli.credit:credit", "Measure every method's credit against the true advantages of steps."),
    "view": ("capo_bench.cli.view:view", "Show rollouts with the credit of their steps on one page."),
    "critic": ("capo_bench.cli.critic:critic", "Measure a critic on solutions whose steps are labelled."),
    "eval": ("capo_bench.cli.evaluate:evaluate", "Measure a model on benchmarks; run it again to resume."),
    "compare": ("capo_bench.cli.compare:compare", "Compare evaluations that have the same settings."),
    "diff": ("capo_bench.cli.diff:diff", "Say why two trials differ."),
    "bundle": ("capo_bench.cli.bundle:bundle", "Put a study into one file, or unpack one to continue it."),
    "export": ("capo_bench.cli.export:export", "Write a trial's policy and samples with cards; push them."),
    "verify": ("capo_bench.cli.verify:verify", "Compute every number of a report again; show differences."),
    "ui": ("capo_bench.cli.ui:ui", "Open the tracked runs in MLflow."),
}

EXAMPLES = """\b
Examples:
  capo-bench ls
  capo-bench plan voting
  capo-bench run voting --home results
  capo-bench report voting --home results
"""


class LazyGroup(click.Group):
    """A group that imports only the command that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = resolve_name(COMMANDS[cmd_name][0])
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the named command; the error for an unknown name suggests the nearest one."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from evals.registry import suggest_similar

            ctx.fail(f"no command {args[0]!r}{suggest_similar(args[0], list(COMMANDS))}; known: {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help lines of the commands from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line; a system error, such as a full disk, prints a sentence and exits with code 2.

        A closed output pipe, as with ``| head``, is not reported: the exit code is 1, and nothing more is printed.
        """
        try:
            try:
                return super().main(*args, **options)
            finally:
                sys.stdout.flush()
        except OSError as error:
            if not options.get("standalone_mode", True):
                raise
            gone = error.errno == errno.EPIPE
            if not gone:
                trouble = f"{error.filename or 'output'}: {error.strerror or error}"
                click.echo(f"{trouble}; free space, or name files and folders that can be read and written", err=True)
            if sys.__stdout__ is not None and sys.stdout is sys.__stdout__:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())  # discard buffered output
            sys.exit(1 if gone else 2)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; print the errors of a refused request, one per line, with exit code 2."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if _is_refusal(error):
                raise Refused(error) from error
            raise


class Refused(click.ClickException):
    """The request was refused, and nothing ran."""

    exit_code = 2

    def __init__(self, errors: Exception) -> None:
        super().__init__(str(errors))

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the errors, one per line, each with its place."""
        click.echo(self.message, file=file, err=file is None)


def _is_refusal(error: Exception) -> bool:
    """Return whether an error is a message for the user about arguments, files or settings."""
    from capo_bench.store.errors import RunError

    if isinstance(error, RunError):
        return True
    from evals.checksums import ChangedFileError
    from evals.models.base import ModelError
    from evals.registry import BrokenPartError, UnknownNameError
    from evals.tasks.rows import DataErrors

    return isinstance(error, ChangedFileError | BrokenPartError | UnknownNameError | DataErrors | ModelError)


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"capo-bench {version('capo-bench')}")
        except PackageNotFoundError:
            click.echo("capo-bench, from a checkout that is not installed")
        ctx.exit()


@click.group(cls=LazyGroup, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Show the version."
)
def main() -> None:
    """Does fine-grained credit from a critic make a reasoning model better, by how much, and at what cost?"""
