"""Whatever an app or a model sends, looking through it takes time that grows with its length, not with its square.

Each test takes an input 32 times as long as another. What grows with the length then takes about 32 times as long,
what grows with the square up to 1,024 times. The processor's time of this process is compared, and the limit is twice
what is expected, so a busy machine does not matter. The last tests plant a fault and see that it is found.
"""

import gc
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from auth.log_redaction import redact
from cassettes.blobs import Blobs
from cassettes.redact.finder import Look
from cassettes.redact.patterns import Pattern
from cassettes.redact.pseudonyms import Names
from cassettes.redact.redact import Redactor, parse_path, path_matches
from cassettes.redact.scrub import Lane, Scrubber
from cassettes.redact.shapes import NAMED_WORDS, SHAPES, kind_of_name
from cassettes.replay.match import Matcher, Miss, Rules, difference
from cassettes.show.safe import blob, safe
from tests.cassettes.replay.test_match import entry

SHORT = 512
TIMES = 32
LIMIT = 2 * TIMES
FLOOR_S = 0.001
"""What takes less is taken for this much: a clock's grain and a cold cache would tell nothing of growth."""

# One head of each kind: what is looked into behind two heads of a kind is the same.
KINDS = {
    (
        *(shape.characters, shape.digit, shape.keeps, shape.bound),
        *(part is None for part in (shape.most, shape.behind, shape.but)),
    ): shape.head
    for shape in SHAPES
}
HEADS = sorted(set(KINDS.values()) | {"sk-"})
PIECES = [
    *(f"{word}=" for word in NAMED_WORDS.split()),
    *(f"{word}{sign}" for word in ("password", "key", "cookie", "token") for sign in ("='", '=\\"', ": ", " ")),
    *("--password ", "--key "),
    *"aA0-_/+=.:@\"'\\% \n\té",
    "\ud800",
    "😀",
    *("-eyJ", "eyJ", "eyJabcdefghijk.", "eyJabcdefghijk.abcde ", "-sk-", "sk-learn", "x" * 50 + "Q~"),
    *("://", "a://", "a://b:", "a://b:c", "https://aaaaaaaaaaaaaaaa1", "a://b:c@"),
    *("Bearer ", "Bearer+", "bearer", "Bearer a", "Basic ", "Basic a", "Basic aaaaaaaa"),
    *("-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY", "-----END ", "-----"),
    *("%2", "%2D", "%70", "\\u002d", "\\u00", "\\/", "\\\\u002d", "\\\\"),
    *("1:AA", "12345678:AA", "M.abcdef.", "patAAAAAAAAAAAAAA.", "1/1234567890123:"),
    *("curl -u ", "curl -u a:", "login a password b ", "?sig=", "&sig=a"),
    *("c2st", "c2stcHJvai1h", "data:;base64,", "data:image/png;base64,", "AAAA"),
    *("redacted:", "redacted:a-", "redacted:key-1", "redacted:held"),
    *("00000000-", "00000000-0000-", "1500000000.", "2020-01-01T00:00:00.1", "call_", "call-a", "Mon, 1 Jan 2020"),
    *("a. ", "&a=", "&token=", "; a=", "<", "{", "[", '{"a":', "(((", "\x1b[", "\u202e"),
]  # fmt: skip


def seconds(call: Callable[[str], Any], text: str) -> float:
    before = time.process_time()
    call(text)
    return time.process_time() - before


@pytest.fixture(autouse=True)
def no_garbage_is_collected() -> Iterator[None]:
    """Collecting takes time whenever it likes."""
    gc.disable()
    yield
    gc.enable()


def growth(call: Callable[[str], Any], make: Callable[[int], Any], short: int = SHORT) -> float:
    """Return how many times as long the long input takes. A slow moment of the machine is tried away."""
    best = float("inf")
    for _ in range(3):
        few, many = make(short), make(short * TIMES)
        best = min(best, seconds(call, many) / max(seconds(call, few), FLOOR_S))
        if best < LIMIT:
            break
    return best


def too_slow(call: Callable[[str], Any], pieces: Iterable[str], short: int = SHORT) -> dict[str, float]:
    """Return the growth for each piece whose repetition is looked through in more than linear time."""
    found = {piece: growth(call, repeated(piece), short) for piece in pieces}
    return {piece: factor for piece, factor in found.items() if factor >= LIMIT}


def repeated(piece: str) -> Callable[[int], str]:
    return lambda length: (piece * (length // len(piece) + 1))[:length]


def in_pieces(text: str) -> None:
    scrubber = Scrubber(Redactor())
    for n, at in enumerate(range(0, len(text), 64)):
        delta = {"type": "text_delta", "text": text[at : at + 64]}
        scrubber.event(n, {"type": "content_block_delta", "index": 0, "delta": delta})
        scrubber.take_changed(besides=n)
    scrubber.finish()


def as_bytes(text: str) -> None:
    scrubber = Scrubber(Redactor())
    for n, at in enumerate(range(0, len(text), 64)):
        scrubber.chunk(n, b"data: " + text[at : at + 64].encode("utf-8", "replace"))
    scrubber.finish()


LOOKS: dict[str, Callable[[str], Any]] = {
    "a whole text": lambda text: Redactor().text(text),
    "a text that goes on": lambda text: Redactor().scan(text, 0, final=False),
    "a query": lambda text: Redactor().target(f"/v1?{text}"),
    "a request that is looked for": lambda text: Matcher([]).key("POST", f"/v1?a={text}", {"a": text}),
    "a log line": redact,
    "what is shown": lambda text: (safe(text), blob(text)),
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_text_of_one_piece_again_and_again(look: str) -> None:
    assert too_slow(LOOKS[look], dict.fromkeys(PIECES)) == {}
    # Some hundred characters before each of these are looked at, which a shorter text does not have.
    assert too_slow(LOOKS[look], ["-u ", "-us1", "--user=a"], short=2 * SHORT) == {}


@pytest.mark.parametrize("form", ["-{}", "{}a1"])
def test_repeated_beginnings_of_tokens_take_linear_time(form: str) -> None:
    assert too_slow(LOOKS["a text that goes on"], map(form.format, HEADS), short=1024) == {}


A_LINE = "a line of many words, -sk-, %2D " * 3 + "\n"
PIECEWISE = ["-eyJ", "a", "sk-", " ", "-----BEGIN PRIVATE KEY-----\n", "password='a ", "\\u002d", "eyJa b", "a://b:"]


@pytest.mark.parametrize(("look", "pieces"), [(in_pieces, PIECEWISE), (as_bytes, ["a", "\n", "sk-", A_LINE])])
def test_a_text_that_comes_in_pieces(look: Callable[[str], None], pieces: list[str]) -> None:
    assert too_slow(look, pieces, short=2048) == {}


@pytest.mark.parametrize("head", ["-----BEGIN PRIVATE KEY-----", "password='", "sk-", "eyJ", "a://b:", "Bearer "])
def test_a_long_text_after_the_beginning_of_a_secret_takes_linear_time(head: str) -> None:
    for piece in ("a", "a ", "\n", "\t", "=", "."):
        make = repeated(piece)
        for look in (LOOKS["a whole text"], LOOKS["a text that goes on"], in_pieces):
            assert growth(look, lambda length: head + make(length)) < LIMIT  # noqa: B023 - called at once


def test_a_line_of_a_stream_that_comes_in_many_pieces() -> None:
    def look(text: str) -> None:
        scrubber = Scrubber(Redactor())
        key = "sk-" + "a1b2c3d4" * 3
        data = f'data: {{"a": "{key}", "b": "{text}"}}\n\n'.encode()
        records = [scrubber.chunk(n, data[at : at + 16]) for n, at in enumerate(range(0, len(data), 16))]
        assert all(record.data is not None for record in records)

    assert growth(look, repeated("a"), short=8 * 1024) < LIMIT


@pytest.mark.parametrize(
    "pattern", [r"(x+x+)+y", r"(a|aa)+$", r"a(?:.*b)?", r"(\w+\s?)*\.", r"(.*)(.*)(.*)z", r"\d+-\d+-\d+", r"a*b*c*d"]
)
def test_a_persons_own_pattern(pattern: str) -> None:
    own = Pattern(pattern)
    rules = Rules(patterns={pattern: "<own>"})
    looks: tuple[Callable[[str], Any], ...] = (
        lambda text: list(own.spans(text)),
        lambda text: Redactor(patterns=[pattern]).text(text),
        lambda text: Matcher([], rules).key("POST", "/v1", {"a": text}),
    )

    for look in looks:
        assert too_slow(look, ["x", "a", "a ", "1", "1-", "ab", "é"]) == {}


def test_a_persons_own_paths() -> None:
    rule = parse_path("$" + "..a" * 12)

    assert growth(lambda text: path_matches(rule, list(text)), repeated("a"), short=128) < LIMIT


def test_the_name_of_a_key() -> None:
    for piece in ("a_", "aA", "_key", "token_", "-", "A"):
        assert growth(kind_of_name, repeated(piece)) < LIMIT
        below = lambda text: Redactor().document({text: {str(n): "x" for n in range(200)}}, lambda *leaf: None)  # noqa: E731
        assert growth(below, repeated(piece), short=8 * 1024) < LIMIT


@pytest.mark.parametrize("piece", ["-eyJ", "a=b; ", "password=a1b2c3d4;", "Bearer ", "a"])
def test_a_header(piece: str) -> None:
    names = ("x-any", "authorization", "cookie")

    assert growth(lambda text: Redactor().headers([(name, text) for name in names]), repeated(piece)) < LIMIT


def test_json_that_is_nested() -> None:
    def nested(length: int) -> Any:
        value: Any = 1
        for n in range(length // 8):
            value = [value] if n % 2 else {"properties": value}
        return value

    assert growth(lambda value: Redactor().document(value), nested) < LIMIT


def test_many_secrets_and_their_names(tmp_path: Path) -> None:
    def look(count: Any) -> None:
        redactor = Redactor(names=Names(tmp_path / f"names-{time.monotonic_ns()}"))
        redactor.document([{"password": f"number {n} of them"} for n in range(count // 16)])

    assert growth(look, lambda length: length) < LIMIT


def test_blobs(tmp_path: Path) -> None:
    for piece in ("AAAA", "data:image/png;base64,", "data:a;a;", "="):
        assert growth(lambda text: Blobs(tmp_path / "blobs").put_away({"a": text}), repeated(piece)) < LIMIT


@pytest.mark.parametrize("unit", ["a. ", "a\n", "{} "])
def test_how_a_request_differs_from_what_is_recorded(unit: str) -> None:
    def look(texts: Any) -> None:
        recorded, now = texts
        lines = difference(
            {"messages": [{"role": "user", "content": part} for part in recorded], "input": " ".join(recorded)},
            {"messages": [{"role": "user", "content": part} for part in now], "input": " ".join(now)},
        )
        assert lines

    def make(length: int) -> Any:
        count = length // 16
        return [f"{n % 7}{unit}" for n in range(count)], [f"{n % 5}{unit}x" for n in range(count)]

    assert growth(look, make) < LIMIT


def test_a_miss_is_told_in_few_characters() -> None:
    recorded = entry("one", {"messages": [{"role": "user", "content": "a" * 100_000}]})
    miss = Matcher([recorded]).find(
        "POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "b" * 100_000}]}
    )

    assert isinstance(miss, Miss)
    assert len(miss.diff) < 20_000


# What these tests would find


def test_a_pattern_that_looks_to_the_end_of_the_text_again_and_again_would_be_found() -> None:
    planted = re.compile(r"a[^\n]*b")

    assert too_slow(planted.findall, ["a", "b"]).keys() == {"a"}


def test_an_end_of_a_run_that_is_looked_for_again_at_each_head_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(look: Look, characters: re.Pattern[str], at: int) -> int:
        match = characters.match(look.text, at)
        return match.end() if match else at

    monkeypatch.setattr(Look, "run", run)

    assert too_slow(LOOKS["a text that goes on"], ["-sk-"], short=1024)


@pytest.mark.parametrize(("look", "piece"), [(in_pieces, "a "), (as_bytes, A_LINE)])
def test_a_text_that_is_looked_at_from_its_beginning_with_each_piece_would_be_found(
    look: Callable[[str], None], piece: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lane, "_trim", lambda lane, needed: None)
    monkeypatch.setattr(Lane, "_look", lambda lane, *, final: lane._redactor.scan(lane._text, 0, final=final))

    assert too_slow(look, [piece], short=4096 if look is in_pieces else 1024)
