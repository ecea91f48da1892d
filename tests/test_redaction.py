"""Secrets are found in every form that they may be repeated in, and nothing else is taken for one."""

import html
import json
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.chat.transport.redaction import Redactor
from agentkit.errors import BadRequest, ConfigError

KEY = 'sk-a/b"c\\d+e f&g<h>-zzz'
FORMS = {
    "itself": KEY,
    "upper case": KEY.upper(),
    "json": json.dumps(KEY),
    "json in json": json.dumps(json.dumps(KEY)),
    "json with escaped slashes": json.dumps(KEY).replace("/", "\\/"),
    "json, every character": "".join(f"\\u{ord(each):04X}" for each in KEY),
    "url": quote(KEY, safe=""),
    "query": quote_plus(KEY),
    "url in a url": quote(quote(KEY, safe=""), safe=""),
    "html": html.escape(KEY),
    "html, every character": "".join(f"&#{ord(each)};" for each in KEY),
    "html, hexadecimal": "".join(f"&#x{ord(each):x};" for each in KEY),
    "repr": repr(KEY),
    "repr of bytes": repr(KEY.encode()),
    "\\x": "".join(f"\\x{ord(each):02x}" for each in KEY),
}


def redactor(*secrets: str) -> Redactor:
    made = Redactor()
    made.add(*secrets)
    return made


def pieces_left(text: str, secret: str, size: int = 6) -> list[str]:
    """What of a secret is still legible."""
    return [piece for at in range(len(secret) - size + 1) if (piece := secret[at : at + size]) in text]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("around", ["{}", "the key {} is wrong", "a{}b", '{{"error": {{"message": "no {}"}}}}'])
def test_a_secret_is_found_in_every_form(form: str, around: str) -> None:
    shown = redactor(KEY)(around.format(FORMS[form]))
    assert "***" in shown
    assert not pieces_left(shown, KEY)
    assert not pieces_left(shown, FORMS[form].strip("\"'\\"))


@pytest.mark.parametrize("form", ["itself", "json", "url"])
def test_a_part_of_a_secret_is_found_where_somebody_truncated_it(form: str) -> None:
    whole = FORMS[form]
    for end in range(12, len(whole)):
        assert not pieces_left(redactor(KEY)(f"the key {whole[:end]}"), whole, size=8)
        assert not pieces_left(redactor(KEY)(f"{whole[end - 12 :]} is wrong"), whole, size=12)


@given(st.text(min_size=12, max_size=40, alphabet=st.characters(min_codepoint=33, max_codepoint=126)), st.text())
def test_any_key_is_found_in_any_text(key: str, text: str) -> None:
    shown = redactor(key)(f"{text} {json.dumps({'k': key})} {quote(key)} {text}")
    assert key not in shown.replace(text, "") or key in text


@pytest.mark.parametrize(
    "text", ["", "nothing here", "a sk- b", "100%", "\\", "&#;", "%zz \\u12", "\ud800 half", "日本語"]
)
def test_a_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert redactor(KEY)(text) == text


@pytest.mark.parametrize("key", ["", "a", "none", "test", "EMPTY"])
def test_a_placeholder_is_not_a_secret(key: str) -> None:
    assert redactor(key)(f"the {key or 'x'} passed") == f"the {key or 'x'} passed"


@pytest.mark.parametrize(
    "name", ["x-jwt", "X-PAT", "x-passwd", "x-signature", "X-Team", "api-key", "Cookie", "x-anything"]
)
def test_a_header_of_an_unknown_name_is_a_secret(name: str) -> None:
    made = Redactor()
    made.add_headers({name: "abcdef-123456"})
    assert made("not abcdef-123456") == "not ***"


@pytest.mark.parametrize("name", ["Accept", "content-type", "User-Agent", "host", "HTTP-Referer", "idempotency-key"])
def test_a_header_of_a_well_known_name_is_none(name: str) -> None:
    made = Redactor()
    made.add_headers({name: "abcdef-123456"})
    assert made("not abcdef-123456") == "not abcdef-123456"


def test_a_scheme_is_no_part_of_the_secret_and_basic_holds_a_password() -> None:
    made = Redactor()
    made.add_headers({"authorization": "Basic bWU6aHVudGVyMjIy", "x-other": "Bearer 0123456789"})
    assert made("Bearer tokens and Basic logins") == "Bearer tokens and Basic logins"
    assert made("me:hunter222 | hunter222 | bWU6aHVudGVyMjIy | 0123456789") == "*** | *** | *** | ***"


def test_what_a_url_holds_besides_its_place_is_a_secret() -> None:
    made = Redactor()
    made.add_url("https://me:p%40ssword1@h/v1?api-version=2024-10-21&sig=abc%2Fdef%2Fghi")
    assert made("p@ssword1 2024-10-21 abc/def/ghi") == "*** 2024-10-21 ***"


def test_everything_that_an_error_says_is_redacted() -> None:
    error = BadRequest(f"no {KEY}", status=400, headers={"location": quote(KEY)}, code=KEY, body=json.dumps(KEY))
    error.params, error.said = (KEY,), KEY
    assert redactor(KEY).error(error) is error
    assert not pieces_left(f"{error} {error.args} {vars(error)}", "sk-a/b")
    assert error.status == 400
    assert str(redactor(KEY).error(ConfigError(KEY))) == "***"


@pytest.mark.parametrize("text", ["a%20b", 'sk-a/b"c', "\\u0041", "x", "%", "\\", "&#"])
def test_reading_a_long_text_takes_time_in_proportion_at_most(text: str) -> None:
    made = redactor(KEY)
    for size in (10_000, 5_000_000):
        started = time.process_time()
        made(text * (size // len(text)))
        assert time.process_time() - started < 0.5
