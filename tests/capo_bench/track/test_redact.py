import html
import json
import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from capo_bench.track.redact import redact

SECRETS = {"OPENAI_API_KEY": "sk-abc\"d'e", "hf_token": "hf_abcdef", "DB_PASSWORD": "hunter22", "HOME": "/root/home"}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("key sk-abc\"d'e!", "key ***OPENAI_API_KEY***!"),
        ("hf_abcdef hf_abcdef", "***hf_token*** ***hf_token***"),
        ("hunter22 in /root/home", "***DB_PASSWORD*** in /root/home"),
        ("https://me:pw@host/x", "https://***@host/x"),
        ("https://host/a:b@c", "https://host/a:b@c"),
    ],
)
def test_values_of_variables_that_are_named_like_secrets_go(text, clean):
    assert redact(text, SECRETS) == clean


def test_secrets_are_found_as_json_writes_them():
    clean = redact(json.dumps({"header": SECRETS["OPENAI_API_KEY"]}), SECRETS)
    assert json.loads(clean) == {"header": "***OPENAI_API_KEY***"}


def test_a_secret_inside_another_does_not_leave_its_rest():
    assert redact("abcdefghi", {"A_KEY": "abcdef", "B_KEY": "abcdefghi"}) == "***B_KEY***"


@pytest.mark.parametrize(
    ("name", "value"), [("TOKENIZERS_PARALLELISM", "false"), ("MAX_TOKENS", "100000"), ("EMPTY_KEY", "")]
)
def test_plain_settings_that_are_named_alike_are_no_secrets(name, value):
    text = json.dumps({"flag": False, "tokens": 100000})
    assert redact(text, {name: value}) == text


def escape_twice(text):
    return json.dumps(json.dumps(text)[1:-1])[1:-1]


ESCAPES = [str, lambda text: json.dumps(text)[1:-1], escape_twice, quote, quote_plus, html.escape]


@given(st.text("az09_-./+ \"'\\&<%:=é😀", min_size=6), st.sampled_from(ESCAPES))
def test_no_escaping_hides_a_secret(secret, escape):
    assume(not re.fullmatch(r"[\d.,+-]+", secret))
    assert redact(f"it is {escape(secret)}.", {"A_KEY": secret}) == "it is ***A_KEY***."


def test_the_key_that_settings_name_goes_even_if_it_is_a_number(monkeypatch):
    monkeypatch.setattr("capo_bench.track.redact.KEY_VARIABLES", {"MY_CRED"})
    assert redact("key 123456789", {"MY_CRED": "123456789", "MAX_TOKENS": "100000"}) == "key ***MY_CRED***"
