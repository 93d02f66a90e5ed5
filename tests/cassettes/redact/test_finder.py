"""Secrets by their looks and their names: how many kinds are known, how they may be spelt, and what is none."""

import base64
import json
import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cassettes.redact.finder import look_through
from cassettes.redact.redact import Redactor
from cassettes.redact.scrub import EventRecord, Scrubber
from tests.cassettes.redact.secret_shapes import made

CORPUS = Path(__file__).parents[4] / "shared" / "corpus"
MADE = made()
"""Of each shape of a secret: how it is made, a text with one, and the secret. A test goes through all of them: a test
for each would be two thousand."""
PIECE = 8
"""So many characters of a secret that can be read are too many."""


def readable(secret: str, shown: str) -> list[str]:
    return [secret[at : at + PIECE] for at in range(len(secret) - PIECE + 1) if secret[at : at + PIECE] in shown]


def as_json(text: str) -> str:
    """Spell a text as JSON may: signs as their numbers, and slashes escaped."""
    return "".join(f"\\u{ord(sign):04x}" if sign in "-_=:" else "\\/" if sign == "/" else sign for sign in text)


def in_pieces(text: str, size: int) -> tuple[str, str]:
    """Return what a journal has in the end of a text that comes in pieces, and all that was ever written to it."""
    scrubber = Scrubber(Redactor())
    last: dict[int, str] = {}
    written: list[str] = []

    def write(records: list[Any]) -> None:
        for record in records:
            assert isinstance(record, EventRecord)
            last[record.n] = record.value["delta"]["text"]
            written.append(last[record.n])

    for n, at in enumerate(range(0, len(text), size)):
        delta = {"type": "text_delta", "text": text[at : at + size]}
        event = {"type": "content_block_delta", "index": 0, "delta": delta}
        write([scrubber.event(n, event), *scrubber.take_changed(besides=n)])
    scrubber.finish()
    write(scrubber.take_changed())
    return "".join(last[n] for n in sorted(last)), "\n".join(written)


def test_at_least_150_kinds_of_secrets_are_in_the_table() -> None:
    assert len({template for template, _, _ in MADE}) >= 150


def test_a_secret_in_prose_is_replaced() -> None:
    wrong = []
    for template, text, secret in MADE:
        shown = Redactor().text(f"Use {text} now.")
        whole = shown.startswith("Use ") and shown.endswith(" now.") and "redacted:" in shown
        if readable(secret, shown) or not whole:
            wrong.append((template, shown))

    assert wrong == []


def test_a_secret_with_escapes_as_in_json_is_replaced() -> None:
    wrong = []
    for template, text, secret in MADE:
        shown = Redactor().text(f'{{"text": "Use\\n{as_json(text)} now."}}')
        if readable(as_json(secret), shown):
            wrong.append((template, shown))

    assert wrong == []


def test_a_secret_that_is_percent_encoded_is_replaced() -> None:
    wrong = []
    for template, text, secret in MADE:
        shown = Redactor().text(f"q={quote(f'Use {text} now', safe='')}&n=1")
        if readable(quote(secret, safe=""), shown):
            wrong.append((template, shown))

    assert wrong == []


@pytest.mark.parametrize("before", ["", "x", "xy"])
def test_a_secret_in_base64_within_prose_is_replaced(before: str) -> None:
    wrong = []
    for template, text, secret in MADE:
        encoded = base64.b64encode(f"{before} {text} ".encode()).decode()
        shown = Redactor().text(f"Decode {encoded} now.")
        # The edges share a character of base64 with what surrounds the secret.
        shift = (len(before) + 1 + text.index(secret)) % 3
        core = base64.b64encode((" " * shift + secret).encode()).decode()
        if shown == f"Decode {encoded} now." or readable(core[8:-8], shown):
            wrong.append((template, shown))

    assert wrong == []


@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_secret_in_pieces_is_replaced_as_the_whole_is(size: int) -> None:
    wrong = []
    for template, text, _ in MADE:
        whole = f"Use {text} now."
        shown = in_pieces(whole, size)[0]
        if shown != Redactor().text(whole):
            wrong.append((template, shown))

    assert wrong == []


@pytest.mark.parametrize(
    "text",
    [
        "sk\\u002dproj\\u002dabcdefgh12345678",
        "sk%2Dproj%2Dabcdefgh12345678",
        "https:\\/\\/hooks.slack.com\\/services\\/T0123456789\\/B0123456789\\/abcdefghij0123456789abcd",
    ],
)
def test_a_secret_with_escapes_that_comes_in_pieces_is_never_written(text: str) -> None:
    shown, written = in_pieces(f"see {text} here", 1)

    assert shown.endswith(" here") and "redacted:" in shown
    assert "bcdefgh1" not in written and "abcdefghij" not in written


@pytest.mark.parametrize("spelt", ["{}", "api_key={}", "\\n{}", "\\u000a{}", "%0A{}", "({})", '"{}"', "a,{}", "_{}"])
def test_a_token_is_found_after_escapes_and_punctuation(spelt: str) -> None:
    token = "glpat-" + "a1B2c3D4e5F6g7H8i9J0"

    assert token not in Redactor().text(f"x {spelt.format(token)} y")


def test_source_code_has_no_secrets() -> None:
    """The standard library is some megabytes of it, none of which is one."""
    folder = Path(sysconfig.get_path("stdlib"))
    files = sorted(folder.glob("*.py")) + sorted(folder.glob("asyncio/*.py")) + sorted(folder.glob("http/*.py"))
    found, size = [], 0
    for file in files:
        code = file.read_text("utf-8", "replace")
        size += len(code)
        found += [(file.name, code[start:end]) for start, end, _ in look_through(code, 0, final=True).found]

    assert size > 1_000_000
    assert found == []


def prose(value: Any) -> Iterator[str]:
    """Return the texts that people and models wrote, in an exchange of whatever dialect."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("content", "text", "thinking", "instructions", "system", "input") and isinstance(item, str):
                yield item
            yield from prose(item)
    elif isinstance(value, list):
        for item in value:
            yield from prose(item)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of recorded traffic is not beside the repository")
def test_the_prose_of_recorded_traffic_has_no_secrets() -> None:
    texts = [text for file in sorted(CORPUS.rglob("*.json")) for text in prose(json.loads(file.read_text("utf-8")))]

    found = [text[start:end] for text in texts for start, end, _ in look_through(text, 0, final=True).found]

    assert len(texts) > 200
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "the Bearer access_token of a request",
        'AUTHORIZATION = "authorization"',
        "PRIMARY_KEY=customer_id_12345",
        "response.headers['Set-Cookie: ']",
        "https://example.com/a?b=c@d",
        "https://someone@example.com/",
        "token = tokens[0] + token1",
        "CACHE_KEY = 'users:1234567890'",
        "git+https://github.com/owner/repository@v1.2.3",
        "an ask-me-anything, a risk-free task-12345678",
        "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
        "550e8400-e29b-41d4-a716-446655440000",
        "the re_ prefix, an sl.prefix, a t1.micro, an API-first design, sdk-version-12345678901234567890123",
        "1/2 cup, 3/4 done: 12345678901234567",
    ],
)
def test_a_text_that_only_resembles_a_secret_is_not_changed(text: str) -> None:
    assert Redactor().text(text) == text


def test_random_base64_of_a_picture_stays() -> None:
    data = random.Random(7).randbytes(300_000)
    text = "data:image/png;base64," + base64.b64encode(data).decode()

    assert Redactor().text(text) == text


def test_headers_that_a_tool_names_are_secrets_whatever_they_are_called() -> None:
    tools = [
        {
            "type": "mcp",
            "server_url": "https://example.com/mcp",
            "headers": {"X-Acme": "opaque words", "Authorization": "token abc", "Accept": "text/plain"},
        }
    ]

    shown = Redactor().document({"tools": tools})["tools"][0]["headers"]

    assert shown == {"X-Acme": "redacted:secret-1", "Authorization": "token redacted:key-1", "Accept": "text/plain"}
