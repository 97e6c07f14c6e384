r"""One verifier for reward and for evaluation: is the final answer of a completion the reference answer?

The answer is found by rule (`answers`, `choices`), refused by rule when it is built to exhaust a parser (`rules`),
written one way (`text`, `words`), read as a value with parts (`structure`), compared in place where all parts are equal
text, words or numbers (`golds`, `numbers`, `units`), and otherwise compared part by part (`walk`) by math-verify in a
pool of processes that can be killed (`pool`, `process`, `worker`). sympy is never imported here. A comparison that ran
out of time or memory, or whose process died, is an abstention (``correct=None``), never a wrong answer.
"""

from importlib.metadata import version

from evals.verify.answers import DEFAULT_STYLE, AnswerStyle
from evals.verify.forms import Form
from evals.verify.verifier import Status, Verdict, Verifier

_RULES = 4  # raise it with every change of extraction or of the rules that can change a verdict

VERIFIER_VERSION = "+".join(
    [str(_RULES), *(f"{name}-{version(name)}" for name in ("math-verify", "latex2sympy2-extended", "sympy"))]
)
"""What a verdict depends on: our rules and the packages that parse. Part of the identity of a result."""

__all__ = ["DEFAULT_STYLE", "VERIFIER_VERSION", "AnswerStyle", "Form", "Status", "Verdict", "Verifier"]
