"""How near credit comes to the true advantages, as tidy pandas frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from capo_bench.analysis.fidelity import MEASURES, Fidelity, ValuedStep, credits_of

if TYPE_CHECKING:
    import pandas as pd


def steps_frame(measured: Sequence[ValuedStep]) -> pd.DataFrame:
    """Return a row for each step of each measured rollout and each way of credit: `true` and `credit`."""
    import pandas as pd

    frames = []
    for part in measured:
        layout = part.stored.layout
        common = {
            "trial": part.trial, "variant": part.variant, "seed": part.seed, "step": part.step, "policy": part.policy,
            "rollout": layout.owner + 1, "place": layout.place + 1, "tokens": layout.tokens,
            "outcome": part.stored.outcomes[layout.owner], "wrong": part.stored.truth, "true": part.truth,
        }  # fmt: skip
        frames += [
            pd.DataFrame({**common, **asdict(credit), "credit": advantages})
            for credit, advantages in credits_of(part).items()
        ]
    return pd.concat(frames, ignore_index=True)


def fidelity_frame(rows: Sequence[Fidelity]) -> pd.DataFrame:
    """Return a row for each critic, way of credit and policy, with each measure and its interval."""
    import pandas as pd

    plain = [name.name for name in fields(Fidelity) if name.name not in {"credit", *MEASURES}]
    return pd.DataFrame([
        {
            **{name: getattr(row, name) for name in plain},
            **asdict(row.credit),
            **{
                f"{name}{end}": value
                for name in MEASURES
                for end, value in zip(("", "_low", "_high"), getattr(row, name), strict=True)
            },
        }
        for row in rows
    ])  # fmt: skip
