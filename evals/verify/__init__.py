r"""One verifier for reward and for evaluation: is the final answer of a completion the reference answer?

Rules find the answer (`answers`, `choices`) and refuse it if it could exhaust a parser (`rules`). It is written one way
(`text`, `words`) and read as a value with parts (`structure`). If all parts are equal text, words or numbers, they are
compared in place (`golds`, `numbers`, `units`). Otherwise math-verify compares them part by part (`walk`) in a pool of
processes that can be killed (`pool`, `process`, `worker`). sympy is never imported here. A comparison that runs out of
time or memory, or whose process dies, is an abstention (``correct=None``), never a wrong answer.
"""

from importlib.metadata import version

from evals.verify.answers import DEFAULT_STYLE, AnswerStyle
from evals.verify.forms import Form
from evals.verify.verifier import Status, Verdict, Verifier

_RULES = 7  # raise it with every change of extraction or of the rules that can change a verdict

VERIFIER_VERSION = "+".join(
    [str(_RULES), *(f"{name}-{version(name)}" for name in ("math-verify", "latex2sympy2-extended", "sympy"))]
)
"""What a verdict depends on: our rules and the packages that parse. Part of the identity of a result."""

__all__ = ["DEFAULT_STYLE", "VERIFIER_VERSION", "AnswerStyle", "Form", "Status", "Verdict", "Verifier"]
