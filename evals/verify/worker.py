"""The program of one worker process: math-verify behind a pipe.

Run by path with the file descriptor of the pipe, the parent's process id, the deadline in seconds and the memory
limits in bytes; imports nothing of ours but `walk`, by its path too, so that it starts the same whatever the parent's
main module is. JSON goes over the pipe: in come lists of [answer, reference], each text or a value with parts, out goes
``"ready"`` once and then one word an answer (``"right"``, ``"wrong"``, ``"memory"``), as soon as it is decided. No
part of a parsed answer leaves this process.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import module_from_spec, spec_from_file_location
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_PARENT_CHECK_SECONDS = 5.0
_FIRST, _STEP = 0.31, 0.137
"""The point at which formulas are compared has these coordinates, all of them positive."""
_FAR, _DIGITS = 1e-4, 50  # digits that cancel must not make equal formulas differ


def measure_peak() -> int:
    """Return the largest resident size this process has had, in bytes; 0 where the system does not tell.

    Not ``ru_maxrss``: Linux starts that at the size of the process that forked us.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) * 1024


def load_walk() -> Callable[[Any, Any, Callable[[str, str], bool]], bool | None]:
    """Return `walk.compare_values`, from the file beside this one."""
    spec = spec_from_file_location("walk", Path(__file__).with_name("walk.py"))
    if spec is None or spec.loader is None:
        raise ImportError("walk.py is missing beside the worker's program")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    equal: Callable[[Any, Any, Callable[[str, str], bool]], bool | None] = module.compare_values
    return equal


def is_far_apart(answer: Sequence[Any], reference: Sequence[Any]) -> bool:
    """Return whether two parsed formulas differ at a point by far more than math-verify's rounding.

    math-verify gives the same result, but only after it tried to simplify the difference to 0. False decides nothing.
    """
    from sympy import Expr, Symbol, UnevaluatedExpr

    formulas = answer[0], reference[0]
    for formula in formulas:
        # To math-verify symbols can be words, and what is unevaluated a percentage: more than their value.
        if not isinstance(formula, Expr) or isinstance(formula, Symbol) or formula.has(UnevaluatedExpr):
            return False
        if formula.is_Matrix:
            return False
    try:
        ours, theirs = evaluate(*formulas)
        return abs(ours - theirs) > _FAR * max(1.0, abs(ours), abs(theirs))
    except MemoryError:
        raise
    except Exception:  # a formula without a value is compared by math-verify
        return False


def evaluate(*formulas: Any) -> list[complex]:
    """Return the values of formulas at a point; each symbol gets its coordinate by its name.

    All numbers are put in as floats, so that a formula shrinks to its value in one pass, however deep it is.
    """
    from sympy import Float, NumberSymbol, Rational

    names = sorted({str(symbol) for formula in formulas for symbol in formula.free_symbols})
    values = {name: Float(_FIRST + _STEP * number, _DIGITS) for number, name in enumerate(names)}
    return [
        complex(
            formula.xreplace(
                {atom: values[str(atom)] for atom in formula.free_symbols}
                | {atom: Float(atom, _DIGITS) for atom in formula.atoms(Rational, NumberSymbol)}
            )
        )
        for formula in formulas
    ]


def load() -> Callable[[Any, Any], bool]:
    """Import math-verify and return the comparison of an answer with a reference. The pool keeps the time."""
    from math_verify import LatexExtractionConfig, parse, verify

    equal, latex = load_walk(), [LatexExtractionConfig()]

    def parsed(text: str) -> list[Any]:
        # In dollars, not in \boxed: a percent sign survives that way. As LaTeX alone: math-verify would else take any
        # number out of what it cannot read.
        expressions: list[Any] = parse(f"${text}$", latex, parsing_timeout=None)
        return expressions

    reference_parsed = lru_cache(maxsize=4096)(parsed)
    answer_parsed = lru_cache(maxsize=256)(parsed)  # of an answer in several parts each meets several references

    def leaf(answer: str, reference: str) -> bool:
        if answer == reference:
            return True
        ours, theirs = answer_parsed(answer), reference_parsed(reference)
        if ours and theirs and is_far_apart(ours, theirs):
            return False
        return bool(verify(theirs, ours, allow_set_relation_comp=True, timeout_seconds=None))

    leaf("x + 1", "x(x + 1)")  # what sympy loads and compiles when first used is not the first answer's time
    return lambda answer, reference: bool(equal(answer, reference, leaf))


def judge(compare: Callable[[Any, Any], bool], answer: Any, reference: Any, memory: int) -> str:
    """Return the word for one answer.

    math-verify turns every exception into "not equal", a MemoryError too. So an answer that took more memory than its
    share is an abstention, whatever was returned.
    """
    try:
        right = compare(answer, reference)
    except MemoryError:
        return "memory"
    except Exception:
        right = False
    if right:
        return "right"
    return "memory" if measure_peak() > memory else "wrong"


def serve(pipe: Connection, parent: int, deadline: float, memory: int) -> None:
    """Answer until the pipe closes or the parent is gone.

    The alarm is the kernel's: it ends this process even inside a long C call, if the parent is not there to do it.
    """
    try:
        compare = load()
    except Exception as error:
        pipe.send_bytes(json.dumps(f"{type(error).__name__}: {error}").encode())
        return
    pipe.send_bytes(b'"ready"')
    while True:
        while not pipe.poll(_PARENT_CHECK_SECONDS):
            if os.getppid() != parent:
                return
        for answer, reference in json.loads(pipe.recv_bytes()):
            signal.setitimer(signal.ITIMER_PROF, deadline + 1.0)
            word = judge(compare, answer, reference, memory)
            signal.setitimer(signal.ITIMER_PROF, 0)
            pipe.send_bytes(json.dumps(word).encode())


def main(arguments: list[str]) -> None:
    """Set the limits of this process, then serve."""
    descriptor, parent, deadline, memory, address_space = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (int(address_space), int(address_space)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        serve(Connection(int(descriptor)), int(parent), float(deadline), int(memory))
    except (EOFError, ConnectionError):
        return  # the parent closed the pipe or is gone: nobody waits for an answer


if __name__ == "__main__":
    main(sys.argv[1:])
