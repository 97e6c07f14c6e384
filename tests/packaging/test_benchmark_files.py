"""Where the benchmarks' own files are expected, their absence is a failure and not a row of skipped tests."""

from __future__ import annotations

import os

import pytest

USED = (
    *("math500/test.jsonl", "gsm8k/test.jsonl", "aime24/test.jsonl", "processbench/math.json"),
    *("prm800k/phase1_test.stepwise-critic.parquet", "prmbench/target_data.jsonl"),
)


@pytest.mark.skipif(
    not os.environ.get("CAPO_BENCH_EXPECT_DATA"), reason="benchmark files are not expected (CAPO_BENCH_EXPECT_DATA=1)"
)
def test_the_expected_files_are_there(request):
    try:
        folder = request.getfixturevalue("benchmark_data")
    except pytest.skip.Exception as missing:
        pytest.fail(str(missing))
    assert [name for name in USED if not (folder / name).is_file()] == []
