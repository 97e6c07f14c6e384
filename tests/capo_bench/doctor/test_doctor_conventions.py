"""What `doctor` says of how models are talked to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tinymodel import save_model, tokenizer_of_coins

from capo_bench.doctor.needs import HubItem, collect_needs
from capo_bench.doctor.packages import check_conventions
from capo_bench.study.load import load_plan
from trainers.backbones.tiny import END

TURNS = "{% for m in messages %}{{ m.role }}: {{ m.content }}CLOSE{% endfor %}"


def look_at(folder, template):
    """Return the findings on a model with a chat template."""
    tokenizer = tokenizer_of_coins()
    tokenizer.chat_template = template
    save_model(folder, tokenizer=tokenizer)
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"capo_bench_template": "bare"', '"capo_bench_template": null'))
    needs = collect_needs(load_plan("voting", "quick", (), ()))
    return check_conventions(replace(needs, hub=(HubItem("model", str(folder), None),)))


@pytest.mark.parametrize(
    ("template", "state", "text"),
    [
        (TURNS.replace("CLOSE", END), "ok", f"template chat; a turn ends with {END}"),
        (TURNS.replace("CLOSE", "</turn>"), "warning", "closes a turn with '</turn>', which is no token"),
        ("{{ raise_exception('no') }}", "missing", "cannot be rendered"),
        (None, "ok", "template plain"),
    ],
)
def test_a_model_that_lacks_an_end_is_told(tmp_path, template, state, text):
    [finding] = look_at(tmp_path, template)
    assert finding.state == state
    assert text in finding.text


def test_what_is_not_here_is_not_looked_at(tmp_path):
    needs = collect_needs(load_plan("voting", "quick", (), ()))
    assert check_conventions(replace(needs, hub=(HubItem("model", str(tmp_path / "no"), None),))) == []
