"""Is a gain over the start only sharpening? A stated rule on paired differences.

Training can teach something, or it can only make likely what the start could already say: lower its entropy. The second
needs no training, for greedy decoding or a vote of samples gives it for nothing. Rule, for a variant and the start that
it was trained from, with K the most answers sampled of a problem:

1. Gain: the variant is better than the start beyond noise on avg@k, or by its greedy answers. Without a gain nothing
   can be told.
2. Narrowing: at K the start's pass@K is above the variant's beyond noise. Then the gain is only sharpening, from the
   smallest measured k from which on the start's pass@k is above the variant's at every measured k.
3. More than sharpening: the variant's greedy answers are better beyond noise than the start's greedy answers and than
   the start's majority of K.
4. Only sharpening: one of these two comparisons is not beyond noise in the variant's favour, although its interval
   leaves no room for an advantage as large as the gain.
5. Otherwise, and where a comparison has one seed or one problem, it cannot be told.

"Beyond noise" is that the 95 % interval of the paired difference (`stats.mean_interval`) is on one side of 0. Each
variant is judged alone: these intervals are not adjusted for how many variants there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from capo_bench.analysis.stats import MeanEstimate

Verdict = Literal["more than sharpening", "only sharpening", "cannot be told"]


@dataclass(frozen=True)
class SharpeningEvidence:
    """Paired differences, variant − start, as shares of 1; None where one of the two was not answered so.

    Attributes:
        average: avg@k − avg@k.
        greedy: Greedy accuracy − greedy accuracy.
        majority: The variant's greedy accuracy − the start's maj@K.
        coverage: k to pass@k − pass@k, for every measured k.
    """

    average: MeanEstimate | None
    greedy: MeanEstimate | None
    majority: MeanEstimate | None
    coverage: Mapping[int, MeanEstimate]


@dataclass(frozen=True)
class Sharpening:
    """What the rule says: its verdict, why, as a clause that follows the verdict, and what it rests on."""

    verdict: Verdict
    reason: str
    evidence: SharpeningEvidence


def judge(evidence: SharpeningEvidence) -> Sharpening:
    """Apply the rule of this module."""
    average, greedy, majority = evidence.average, evidence.greedy, evidence.majority
    if average is None or greedy is None or majority is None:
        reason = "it needs greedy answers and at least two sampled ones of both, on shared seeds and problems"
        return Sharpening("cannot be told", reason, evidence)
    gain = max((change.mean for change in (average, greedy) if change.low > 0), default=None)
    lacking = _describe_lacking_noise([average, greedy, majority, *evidence.coverage.values()])
    if lacking or gain is None:
        reason = lacking or "no gain over the start beyond noise"
        return Sharpening("cannot be told", reason, evidence)
    if (k := find_narrowing(evidence.coverage)) is not None:
        reason = f"from k = {k} on the start's pass@k is above its own, so its coverage has narrowed"
        return Sharpening("only sharpening", reason, evidence)
    return Sharpening(*_compare(gain, greedy, majority), evidence)


def _describe_lacking_noise(compared: Sequence[MeanEstimate]) -> str:
    """Return which noise the comparisons do not know; empty where they know both kinds."""
    if any(change.one_seed for change in compared):
        return "one seed, so seed noise is unknown"
    if any(change.problems == 1 for change in compared):
        return "one problem, so how other problems would differ is unknown"
    return ""


def find_narrowing(coverage: Mapping[int, MeanEstimate]) -> int | None:
    """Return the smallest k from which on the start's pass@k is above, beyond noise at the largest k, or None."""
    most = max(coverage, default=0)
    if not most or coverage[most].high >= 0:
        return None
    above = most
    for k in sorted(coverage, reverse=True):
        if coverage[k].mean >= 0:
            break
        above = k
    return above


def _compare(gain: float, greedy: MeanEstimate, majority: MeanEstimate) -> tuple[Verdict, str]:
    """Return verdict and reason where coverage has not narrowed."""
    compared = {"greedy": greedy, "majority": majority}
    unbeaten = [label for label, change in compared.items() if change.low <= 0]
    if not unbeaten:
        return "more than sharpening", "its greedy answers beat the start's greedy answers and the start's majority"
    label = min(unbeaten, key=lambda name: compared[name].high)
    if compared[label].high < 0:
        return "only sharpening", f"the start's {label} answers are better than its greedy ones"
    if compared[label].high < gain:
        return "only sharpening", f"the start's {label} answers are as good as its greedy ones within noise"
    return "cannot be told", f"its advantage over the start's {label} answers may be none or as large as its gain"
