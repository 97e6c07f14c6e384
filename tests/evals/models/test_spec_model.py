"""Which model is evaluated, as the user says it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.models.base import ModelError
from evals.models.spec import check_url, read_spec

URL = "http://127.0.0.1:8000/v1"


def refused(**settings):
    with pytest.raises(ModelError) as caught:
        read_spec(**settings)
    return str(caught.value)


def test_a_name_is_enough():
    spec = read_spec(model="some/model")
    assert (spec.backend, spec.dtype, spec.template, spec.revision) == ("hf", "auto", "auto", None)


@pytest.mark.parametrize(("backend", "batch"), [("hf", 512), ("vllm", 4096), ("openai", 128)])
def test_each_backend_has_its_batch_size(backend, batch):
    url = URL if backend == "openai" else None
    assert read_spec(model="m", backend=backend, base_url=url).batch == batch
    assert read_spec(model="m", backend=backend, base_url=url, batch_size=3).batch == 3


def test_an_unknown_dtype_is_named_with_those_there_are():
    said = refused(model="m", dtype="float8")
    assert said == "dtype 'float8': Input should be 'auto', 'float32', 'bfloat16' or 'float16'"


def test_an_unknown_setting_has_a_neighbour():
    assert refused(model="m", templat="chat") == "unknown setting 'templat' (did you mean 'template'?)"


def test_all_errors_are_told_at_once():
    said = refused(model="", backend="tpu", batch_size=0, concurrency=0)
    assert [line.split()[0] for line in said.splitlines()] == ["concurrency", "model", "backend", "batch_size"]


def test_an_endpoint_needs_its_place_and_decides_for_itself():
    said = refused(model="m", backend="openai", template="plain", revision="abc", dtype="float16", max_length=9)
    assert "needs base_url, as in http://" in said
    assert "template 'plain' is not for backend openai" in said
    for name in ("revision", "dtype", "max_length"):
        assert f"{name} is not for backend openai" in said


def test_a_model_of_ones_own_has_no_place_on_the_net():
    assert "base_url is for backend openai, and the backend is hf" in refused(model="m", base_url=URL)


@pytest.mark.parametrize("url", ["http://me:hunter2@host/v1", "http://host/v1?key=hunter2", "http://host/v1#hunter2"])
def test_a_secret_in_the_url_is_refused_and_not_repeated(url):
    said = refused(model="m", backend="openai", base_url=url)
    assert "belongs into the environment variable that api_key_env names" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("url", ["127.0.0.1:8000/v1", "file:///etc/passwd", "http://"])
def test_what_is_no_address_is_refused(url):
    assert "is no http address" in refused(model="m", backend="openai", base_url=url)


def test_the_last_slash_does_not_matter():
    assert read_spec(model="m", backend="openai", base_url=URL + "/").base_url == URL


@given(st.text())
def test_any_text_is_a_plain_url_or_refused(text):
    try:
        url = check_url(text)
    except ValueError:
        return
    assert url.startswith(("http://", "https://")) or url.lower().startswith(("http://", "https://"))
    assert not {"@", "?"} & set(url.partition("//")[2].partition("/")[0])


def test_reading_a_specification_imports_nothing_heavy():
    heavy = "{'torch', 'lm_eval', 'transformers'}"
    code = f"import evals.models.spec, evals.models.prompt, sys; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
