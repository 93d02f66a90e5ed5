"""Secrets that come in pieces."""

import json
import random
from typing import Any

import pytest

from cassettes.redact.pseudonyms import HELD
from cassettes.redact.redact import Redactor
from cassettes.redact.scrub import MAX_HELD, ChunkRecord, EventRecord, Scrubber

KEY = "sk-proj-abcdefgh12345678"
OWN = "a secret of 3 words"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END PRIVATE KEY-----"


class Tape:
    """Keeps what a journal would: every line ever written, and the last of each number."""

    def __init__(self, **rules: Any) -> None:
        self.scrubber = Scrubber(Redactor(**rules))
        self.written: list[bytes] = []
        self.last: dict[int, bytes] = {}

    def event(self, value: dict[str, Any]) -> None:
        n = len(self.last)
        self._write([self.scrubber.event(n, value), *self.scrubber.take_changed(besides=n)])

    def chunk(self, data: bytes) -> None:
        n = len(self.last)
        self._write([self.scrubber.chunk(n, data), *self.scrubber.take_changed(besides=n)])

    def finish(self) -> "Tape":
        self.scrubber.finish()
        self._write(self.scrubber.take_changed())
        return self

    def _write(self, records: list[Any]) -> None:
        for record in records:
            assert isinstance(record, (EventRecord, ChunkRecord))
            data = record.data if isinstance(record, ChunkRecord) else json.dumps(record.value).encode()
            self.last[record.n] = data
            self.written.append(data)

    @property
    def chunks(self) -> bytes:
        return b"".join(self.last.values())


def text_delta(text: str, index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}


def sse(content: str) -> bytes:
    delta = {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None}]}
    return b"data: " + json.dumps(delta, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def texts(tape: Tape) -> list[str]:
    return [json.loads(data)["delta"]["text"] for data in tape.last.values()]


@pytest.mark.parametrize("cut", range(1, len(KEY)))
def test_a_secret_split_over_two_chunks_is_replaced_and_never_written(cut: int) -> None:
    tape = Tape()

    tape.chunk(f"the key is {KEY[:cut]}".encode())
    tape.chunk(f"{KEY[cut:]}, and so on".encode())

    assert tape.finish().chunks == b"the key is redacted:key-1, and so on"
    assert not [data for data in tape.written if KEY[4:11].encode() in data or KEY[-7:].encode() in data]


@pytest.mark.parametrize("cut", range(1, len(OWN)))
def test_a_known_secret_without_a_shape_is_found_over_two_deltas(cut: int) -> None:
    tape = Tape(secrets=[OWN])

    for text in ("it is ", OWN[:cut], OWN[cut:], "!"):
        tape.event(text_delta(text))

    assert "".join(texts(tape.finish())) == "it is redacted:secret-1!"
    assert not [data for data in tape.written if OWN[:7].encode() in data or OWN[-7:].encode() in data]


@pytest.mark.parametrize("secret", [KEY, OWN, PEM, "AKIAIOSFODNN7EXAMPLE", "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0"])
def test_a_secret_that_comes_a_character_at_a_time_in_an_event_stream_is_replaced(secret: str) -> None:
    tape = Tape(secrets=[OWN])

    for character in f"see {secret} here":
        tape.chunk(sse(character))
    shown = [json.loads(line[6:]) for line in tape.finish().chunks.split(b"\n") if line]

    text = "".join(line["choices"][0]["delta"]["content"] for line in shown)
    assert text.startswith("see redacted:") and text.endswith("-1 here")
    assert len(shown) == len(secret) + 9
    assert secret[5:12] not in "".join(json.dumps(data.decode()) for data in tape.written)


def test_an_event_stream_cut_at_every_place_is_redacted_alike() -> None:
    whole = b"".join(map(sse, ["Ask ", "with sk", "-proj-ab", "cdefgh12345678 é", " now"])) + b"data: [DONE]\n\n"
    expected = (
        whole.replace(b"with sk", b"with redacted:key-1").replace(b"-proj-ab", b"").replace(b"cdefgh12345678", b"")
    )

    for cut in range(1, len(whole)):
        tape = Tape()
        tape.chunk(whole[:cut])
        tape.chunk(whole[cut:])
        assert tape.finish().chunks == expected


def test_an_event_stream_that_comes_byte_by_byte_keeps_every_byte() -> None:
    whole = (
        b": hello\n\n"
        + b"".join(map(sse, ["Süß", "e ", "Worte\u2028"]))
        + b"event: x\r\ndata: {1\r\n\r\ndata: [DONE]\n\n"
    )
    tape = Tape()

    for byte in whole:
        tape.chunk(bytes([byte]))

    assert tape.finish().chunks == whole
    assert list(tape.last.values()) == [bytes([byte]) for byte in whole]


def test_bytes_that_are_not_an_event_stream_keep_their_boundaries() -> None:
    chunks = [b"\x89PNG\r\n", b"\xff\xfe\x00", b"", b"sk-", b" no key", b"d", b"ata: x"]
    tape = Tape()

    for data in chunks:
        tape.chunk(data)

    assert list(tape.finish().last.values()) == chunks


def test_the_end_that_may_become_a_secret_is_held_back_until_it_is_decided() -> None:
    tape = Tape()

    tape.event(text_delta("the prefix sk-proj"))
    held = texts(tape)[0]
    tape.event(text_delta(" is public"))

    assert held == f"the prefix {HELD}"
    assert texts(tape) == ["the prefix sk-proj", " is public"]


def test_texts_of_different_blocks_are_not_mixed() -> None:
    tape = Tape()

    tape.event(text_delta("sk-proj-", index=0))
    tape.event(text_delta("abcdefgh12345678", index=1))

    assert texts(tape.finish()) == ["sk-proj-", "abcdefgh12345678"]


def test_a_credential_in_the_arguments_of_a_tool_call_is_found_by_its_name() -> None:
    tape = Tape()
    arguments = json.dumps({"user": "ann", "password": "not a shape at all", "n": 3})

    for at in range(0, len(arguments), 3):
        delta = {"type": "input_json_delta", "partial_json": arguments[at : at + 3]}
        tape.event({"type": "content_block_delta", "index": 1, "delta": delta})
    shown = "".join(json.loads(data)["delta"]["partial_json"] for data in tape.finish().last.values())

    assert json.loads(shown) == {"user": "ann", "password": "redacted:secret-1", "n": 3}
    assert not [data for data in tape.written if b"not a" in data or b"shape" in data]


def test_secrets_of_a_whole_body_are_found_by_path_and_name() -> None:
    tape = Tape(json_paths=["$.choices[*].message.content"])

    tape.chunk(b'{"choices": [{"message": {"content": "private"}}], "token": "x"}')

    assert json.loads(tape.finish().chunks) == {
        "choices": [{"message": {"content": "redacted:secret-1"}}],
        "token": "redacted:token-1",
    }


def test_tokens_of_logprobs_are_no_credentials() -> None:
    body = b'{"choices": [{"logprobs": {"content": [{"token": "Hello", "logprob": -0.1, "bytes": null}]}}]}'
    tape = Tape()

    tape.chunk(body)
    tape.chunk(b"\n")

    assert tape.finish().chunks == body + b"\n"


def test_a_text_that_is_held_back_too_long_counts_as_a_secret() -> None:
    tape = Tape()

    tape.event(text_delta("sk-"))
    for _ in range(9):
        tape.event(text_delta("x" * (MAX_HELD // 8)))
    tape.event(text_delta("yyyy and on"))

    assert "".join(texts(tape.finish())) == "redacted:secret-1 and on"


def test_a_long_word_that_may_be_a_secret_is_not_looked_at_anew_with_each_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[int] = []
    scan = Redactor.scan

    def counted(self: Redactor, text: str, *args: Any, **more: Any) -> Any:
        looked.append(len(text))
        return scan(self, text, *args, **more)

    monkeypatch.setattr(Redactor, "scan", counted)
    tape = Tape()
    word = "eyJ" + "x" * (MAX_HELD // 2)

    for at in range(0, len(word), 8):
        tape.event(text_delta(word[at : at + 8]))
    assert not [data for data in tape.written if b"xxxxxxxx" in data]
    tape.event(text_delta(" and on"))

    assert "".join(texts(tape.finish())) == word + " and on"
    # Half of its length each time would be 4,096 times 8,192.
    assert sum(looked) < 40 * len(word)


def test_a_key_that_hides_in_a_key_sent_twice_is_found() -> None:
    tape = Tape()

    tape.chunk(b'data: {"a": "%b", "a": "x"}\n\n' % KEY.encode())

    assert tape.finish().chunks == b'data: {"a": "redacted:key-1", "a": "x"}\n\n'


WORDS = ["and", "the sk-", KEY, KEY + KEY, OWN, "password=hunter2hunter2 ", "ghp_", "eyJ", " ", "s", PEM]


def cut_at_random(seeded: random.Random, words: list[str]) -> tuple[str, Tape]:
    text = " ".join(seeded.choices(words, k=8))
    cuts = sorted(seeded.choices(range(len(text)), k=seeded.randrange(12)))
    tape = Tape(secrets=[OWN])
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        tape.event(text_delta(text[start:end]))
    return text, tape.finish()


def test_random_cuts_of_random_texts_give_what_the_whole_text_gives() -> None:
    seeded = random.Random(20)
    for _ in range(400):
        text, tape = cut_at_random(seeded, WORDS)

        assert "".join(texts(tape)) == Redactor(secrets=[OWN]).text(text)


def test_random_cuts_never_write_a_secret() -> None:
    seeded = random.Random(21)
    for _ in range(400):
        text, tape = cut_at_random(seeded, [*WORDS, "Bearer ", "password: '", "api_key="])

        written = b"".join(tape.written)
        assert not [
            piece for piece in (b"cdefgh1", b"hunter2", b"MIIEvQ", b"qhkiG9", b"secret of") if piece in written
        ], text
