"""A study whose variants have baselines of their own: each is compared with its own, in tables, sentences and costs."""

from __future__ import annotations

from fakehome import FakeHome, Truth

from capo_bench.pages.report import build_report

STUDY = """
name: fake
question: Does it depend on the group?
baseline: grpo_4
start: cold_start
within: [train.group_size]
metrics: [coins_test/accuracy, coins_test/wrong_step_rate]
base: {method: capo, critic: {name: exact}, credit: {critiques: 1, vote: union}}
include:
  - name: cold_start
    set: {method: sft}
  - name: grpo_4
    set: {method: grpo_rule, train.group_size: 4}
  - name: capo_4
    set: {train.group_size: 4}
  - name: grpo_8
    set: {method: grpo_rule, train.group_size: 8}
  - name: capo_8
    set: {train.group_size: 8}
seeds: [0, 1, 2]
"""
TRUTHS = {
    "cold_start": Truth(0.1, slip=0.5), "grpo_4": Truth(0.2, slip=0.4), "capo_4": Truth(0.7, slip=0.1),
    "grpo_8": Truth(0.75, slip=0.1), "capo_8": Truth(0.75, slip=0.1),
}  # fmt: skip


def test_each_is_compared_with_its_own_baseline(tmp_path):
    fake = FakeHome(tmp_path, study=STUDY, truths=TRUTHS).finish()
    report = build_report(fake.plan(), fake.home)
    summary = report.summary
    versus = {row.variant: cell.versus for row, cell in summary.cells(summary.primary)}
    assert {name for name, change in versus.items() if change is None} == {"cold_start", "grpo_4", "grpo_8"}
    assert versus["capo_4"].mean > 0.3
    assert abs(versus["capo_8"].mean) < 0.2  # against grpo_4 it would be over a half
    assert {row.variant: row.baseline for row in summary.rows}["capo_8"] == "grpo_8"
    assert summary.roles == {"cold_start": "start", "grpo_4": "baseline", "grpo_8": "baseline"}
    assert report.answer.headline.startswith("capo_4 beats grpo_4 on coins_test/accuracy by +")
    assert report.answer.comparisons[0].startswith("capo_8: no difference to grpo_8 beyond noise")
    assert report.page.tables[0].headings[3] == "difference to the baseline of its group_size"
    assert [row[0] for row in report.page.tables[0].rows][1:4] == ["grpo_4 (baseline)", "capo_4", "grpo_8 (baseline)"]
