"""Translates a recorded exchange with the current code, and checks that the app would get the same answer.

The recorded events of Claude are fed to the state machines that also answer apps. Their result is compared with the
recorded answer. Ids, times, encrypted texts and the way in which text is split into deltas may differ: a slow proxy
sends fewer and larger deltas.

An app sends reasoning back in encrypted form. No cassette has the key. The content is known if the cassette also has
the answer that the reasoning came with. If not, the Turns are compared without reasoning, and the verdict says so.
"""

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from cassettes.assemble import assemble, events_of, is_event_stream
from cassettes.format import Entry
from cassettes.openai_bodies import array, mapping, model_of
from cassettes.outcome import reason
from translate.chat.answer import chat_streams
from translate.chat.completion import fold
from translate.chat.request import translate_request
from translate.chat.wire import ChatCompletionChunk
from translate.claude_stream import ClaudeProtocolError
from translate.errors import OpenAIError
from translate.request_body import decode_object
from translate.responses.fold import body_of
from translate.responses.fold import fold as fold_response
from translate.responses.reasoning import KINDS, unpack
from translate.responses.request import needed, read_request, translate_response_request
from translate.responses.stream import ResponseStream
from translate.turn import ContentBlock, Turn, to_json
from translate.usage import add_usage

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"

_ID = re.compile(
    r"\b(?:chatcmpl|resp|msg|rs|fc|ctc|ctco|tsc|tso|ws|cmp|mcp|mcpl|mcpr|call|toolu|srvtoolu|cmpl|item|req|conv|fp)"
    r"[-_][A-Za-z0-9_-]{8,}"
)
_TIMES = frozenset({"created", "created_at", "completed_at"})
_SEALS = frozenset({"encrypted_content", "signature"})
_OF_THE_CUT = frozenset({"sequence_number", "obfuscation"})
"""Fields that depend on how text was cut into deltas."""
_MAX_LINES = 80

type Item = dict[str, Any]


type Outcome = Literal["same", "differs", "skipped"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one entry: ``same``, ``differs`` (``lines`` show how), or ``skipped`` (``why`` says why).

    For ``same``, ``why`` names what could not be compared, or is "".
    """

    id: str
    how: Outcome
    why: str = ""
    lines: tuple[str, ...] = ()


@dataclass(slots=True)
class _Answer:
    """The result of the current translation: the Turns, the JSON of the events or of the body, and the stored items."""

    turns: list[Mapping[str, Any]]
    events: list[Any]
    conversation: tuple[Item, ...] = ()


@dataclass(slots=True)
class Retranslator:
    """Translates the entries of a cassette again, in order, because a response can continue an earlier one."""

    _conversations: dict[str, tuple[Item, ...]] = field(default_factory=dict)
    _seals: "_Seals" = field(default_factory=lambda: _Seals())

    def check(self, entry: Entry) -> Verdict:
        """Compare one entry."""
        path = entry.request.path.partition("?")[0].rstrip("/")
        if entry.request.method != "POST" or path not in (CHAT, RESPONSES):
            return Verdict(entry.id, "skipped", f"{entry.request.method} {path} is not translated")
        if entry.how != "done":
            return Verdict(entry.id, "skipped", f"it ended {entry.how}")
        if entry.left_out:
            return Verdict(entry.id, "skipped", "parts of it were left out when it was recorded")
        if entry.status is not None and entry.status >= 400 and entry.events:
            # Claude's events up to the failure are not a whole answer.
            return Verdict(
                entry.id, "skipped", f"it failed after Claude was asked: {reason(entry.status, entry.error)}"
            )
        self._seals.unopened = 0
        try:
            answer = self._chat(entry) if path == CHAT else self._response(entry)
        except OpenAIError as error:
            return _compare(entry, _told(entry), [json.loads(error.body())])
        except _SkippedError as error:
            return Verdict(entry.id, "skipped", str(error))
        except (ClaudeProtocolError, ValueError) as error:
            return Verdict(entry.id, "differs", lines=(f"today's translation fails: {type(error).__name__}: {error}",))
        if not entry.events:
            return Verdict(entry.id, "skipped", "Claude was not asked, or what it said was not recorded")
        recorded: list[Mapping[str, Any]] = [turn for turn in (entry.turn, *entry.more_turns) if turn is not None]
        turns, note = answer.turns, ""
        if unopened := self._seals.unopened:
            recorded, turns = [*map(without_reasoning, recorded)], [*map(without_reasoning, turns)]
            note = f"{unopened} sealed reasoning{'s' if unopened > 1 else ''} could not be opened, and was not compared"
        return _compare(entry, [*map(_turn, recorded), *_told(entry)], [*map(_turn, turns), *answer.events], note)

    def _chat(self, entry: Entry) -> _Answer:
        message = mapping(entry.message)
        shown = _shows_reasoning(entry)
        translated = translate_request(decode_object(entry.request.body), _model_map(entry), show_reasoning=shown)
        streams = chat_streams(
            translated, id=str(message.get("id")), created=int(message.get("created") or 0), show_reasoning=shown
        )
        turns = _turns(entry, translated.turn)
        if not entry.events:
            return _Answer(turns, [])
        chunks: list[ChatCompletionChunk] = []
        counted: list[ChatCompletionChunk] = []
        for event in entry.events:
            for chunk in streams[event.of].feed(event.value) if event.of < len(streams) else []:
                (chunks if chunk.choices or len(streams) == 1 else counted).append(chunk)
        for stream in streams:
            stream.feed_eof()
        if counted:
            usages = [chunk.usage for chunk in counted if isinstance(chunk.usage, msgspec.Struct)]
            chunks.append(msgspec.structs.replace(counted[-1], usage=add_usage(usages)))
        told: Sequence[Any] = chunks if _is_stream(entry) else [fold(chunks)]
        return _Answer(turns, [msgspec.to_builtins(event) for event in told])

    def _response(self, entry: Entry) -> _Answer:
        message = mapping(entry.message)
        read = read_request(decode_object(entry.request.body))
        wanted = needed(read)
        if message.get("status") == "queued":
            raise _SkippedError("it was answered in the background, so this answer tells nothing of it")
        if wanted.conversation_id or wanted.item_ids:
            raise _SkippedError("it goes on from what is not in the cassette")
        if wanted.servers:
            raise _SkippedError("what MCP servers told is not in the cassette")
        before = self._conversations.get(wanted.previous_response_id or "", ())
        if wanted.previous_response_id and not before:
            raise _SkippedError("it goes on from a response that is not in the cassette before it")
        try:
            translated = translate_response_request(
                read,
                _model_map(entry),
                show_reasoning=_shows_reasoning(entry) and not _asks_for_summary(entry),
                previous=before,
                open_reasoning=self._seals.open,
            )
        except OpenAIError as error:
            if self._seals.unopened and (error.param or "").endswith("encrypted_content"):
                raise _SkippedError("it goes on from sealed notes that cannot be opened") from None
            raise
        turns = _turns(entry, translated.turn)
        if not entry.events:
            return _Answer(turns, [])
        created = int(message.get("created_at") or 0)
        stream = ResponseStream(
            translated.options,
            id=str(message.get("id")),
            created_at=created,
            new_id=_numbered(),
            now=lambda: created,
            seal=self._seals.seal,
        )
        events = [told for event in entry.events for told in stream.feed(event.value)]
        stream.feed_eof()
        stored = msgspec.to_builtins(stream.stored)
        self._seals.learn(message.get("output"), stored)
        self._conversations[str(message.get("id"))] = (*before, *translated.items, *stored)
        told = events if _is_stream(entry) else [body_of(fold_response(events))]
        return _Answer(turns, [msgspec.to_builtins(event) for event in told])


@dataclass(slots=True)
class _Seals:
    """The content of encrypted reasoning and notes that apps send back, of this translation and of the recording."""

    _blocks: dict[str, ContentBlock] = field(default_factory=dict)
    unopened: int = 0
    """The number of texts that could not be decrypted."""

    def seal(self, data: bytes) -> str:
        """Return a name for the data, in place of an encrypted text."""
        sealed = f"sealed {len(self._blocks)}"
        if (block := unpack(data)) is not None:
            self._blocks[sealed] = block
        return sealed

    def open(self, sealed: str) -> ContentBlock | None:
        """Return the content of an encrypted text, None if it is not known from the cassette."""
        block = self._blocks.get(sealed)
        self.unopened += block is None
        return block

    def learn(self, recorded: Any, today: list[Item]) -> None:
        """Match the recorded encrypted texts of an answer with those of the new translation, by their places."""
        for old, new in zip(array(recorded), today, strict=False):
            sealed = mapping(old).get("encrypted_content")
            block = self._blocks.get(new.get("encrypted_content") or "")
            if isinstance(sealed, str) and block is not None and old.get("type") == new.get("type"):
                self._blocks[sealed] = block


def without_reasoning(turn: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a Turn without the thinking in its messages."""
    messages = []
    for message in turn.get("messages") or ():
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, (list, tuple)):
            kept = [block for block in content if not (isinstance(block, Mapping) and block.get("type") in KINDS)]
            messages += [{**message, "content": kept}] if kept else []
        else:
            messages.append(message)
    return {**turn, "messages": messages}


class _SkippedError(Exception):
    """An entry cannot be translated again, for a reason that is not an error of the translation."""


def _numbered() -> Callable[[str], str]:
    numbers = iter(range(10**9))
    return lambda prefix: f"{prefix}_{next(numbers):048x}"


def _turns(entry: Entry, turn: Turn) -> list[Mapping[str, Any]]:
    """Return the Turn once for each recorded Turn of the entry."""
    return [to_json(turn)] * (len(entry.more_turns) + (entry.turn is not None))


def _model_map(entry: Entry) -> dict[str, str]:
    """Return a model map that gives the model that answered then. The model map is a setting, so it is not checked."""
    model = model_of(entry.turn)
    return {"*": "sonnet" if model is None else model}


def _shows_reasoning(entry: Entry) -> bool:
    """Return whether the app was sent Claude's thinking, because of a setting or a header. The Turn shows it."""
    return mapping(mapping(entry.turn).get("thinking")).get("display") == "summarized"


def _asks_for_summary(entry: Entry) -> bool:
    reasoning = mapping(mapping(entry.request.json).get("reasoning"))
    return bool(reasoning.get("summary") or reasoning.get("generate_summary"))


def _is_stream(entry: Entry) -> bool:
    content_type = entry.headers.get("content-type", "")
    return isinstance(content_type, str) and is_event_stream(content_type)


def _told(entry: Entry) -> list[Any]:
    """Return what the app received: the events of a stream, or the body."""
    if not _is_stream(entry):
        return [assemble("application/json", entry.body)]
    return [json.loads(data) for _, data in events_of(entry.body) if data != "[DONE]"]


def _turn(turn: Mapping[str, Any]) -> dict[str, Any]:
    """Remove from a Turn what does not come from the request, and the bytes of images, which may have been rescaled."""
    told = {name: value for name, value in turn.items() if name not in ("timeout_s", "client")}
    return {"turn": _without_pictures(told)}


def _without_pictures(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.get("type") == "base64" and "data" in value:
            return {"type": "base64", "data": "…"}
        return {name: _without_pictures(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_pictures(item) for item in value]
    return value


def _compare(entry: Entry, before: list[Any], now: list[Any], note: str = "") -> Verdict:
    old, new = canonical(before), canonical(now)
    if old == new:
        return Verdict(entry.id, "same", note)
    lines = list(difflib.unified_diff(_lines(old), _lines(new), "recorded", "today", lineterm="", n=2))
    if len(lines) > _MAX_LINES:
        lines[_MAX_LINES:] = [f"… and {len(lines) - _MAX_LINES} more lines"]
    return Verdict(entry.id, "differs", note, lines=tuple(lines))


def _lines(events: list[Any]) -> list[str]:
    return [line for event in events for line in json.dumps(event, indent=1, ensure_ascii=False).splitlines()]


def canonical(events: list[Any]) -> list[Any]:
    """Return events without ids, times and encrypted texts. Neighbouring deltas are joined."""
    names: dict[str, str] = {}

    def name_of(match: re.Match[str]) -> str:
        prefix = re.split(r"[-_]", match[0])[0]
        return names.setdefault(match[0], f"<{prefix} {len(names) + 1}>")

    def clean(value: Any, key: str = "") -> Any:
        if isinstance(value, Mapping):
            kept = {name: item for name, item in value.items() if name not in _OF_THE_CUT}
            return {name: clean(item, name) for name, item in kept.items()}
        if isinstance(value, (list, tuple)):
            return [clean(item, key) for item in value]
        if key in _TIMES and value is not None:
            return "<time>"
        if key in _SEALS and value is not None:
            return "<sealed>"
        return _ID.sub(name_of, value) if isinstance(value, str) else value

    joined: list[Any] = []
    for event in events:
        if joined and _joins(joined[-1], event):
            continue
        joined.append(json.loads(json.dumps(event)))
    return [clean(event) for event in joined]


def _joins(last: Any, event: Any) -> bool:
    """If two events are pieces of one text, add the second to the first. Return whether they are."""
    if not (isinstance(last, dict) and isinstance(event, dict)):
        return False
    kind = event.get("type")
    if isinstance(kind, str) and kind.endswith(".delta") and last.get("type") == kind:
        same = all(last.get(name) == event.get(name) for name in ("item_id", "output_index", "content_index"))
        if same and isinstance(last.get("delta"), str) and isinstance(event.get("delta"), str):
            last["delta"] += event["delta"]
            return True
        return False
    old, new = _delta(last), _delta(event)
    if old is None or new is None or old.get("index") != new.get("index") or old.get("finish_reason"):
        return False
    return not new.get("finish_reason") and _joins_delta(old["delta"], new["delta"])


def _delta(chunk: dict[str, Any]) -> Any:
    choices = chunk.get("choices")
    one = choices[0] if isinstance(choices, list) and len(choices) == 1 else None
    return one if isinstance(one, dict) and isinstance(one.get("delta"), dict) else None


def _joins_delta(old: dict[str, Any], new: dict[str, Any]) -> bool:
    for name in ("content", "reasoning_content", "refusal"):
        if old.keys() == new.keys() == {name} and isinstance(old[name], str) and isinstance(new[name], str):
            old[name] += new[name]
            return True
    if not (old.keys() == new.keys() == {"tool_calls"} and len(old["tool_calls"]) == len(new["tool_calls"]) == 1):
        return False
    before, after = old["tool_calls"][0], new["tool_calls"][0]
    if before.get("index") != after.get("index") or after.keys() - {"index", "function"}:
        return False
    if after.get("function", {}).keys() != {"arguments"} or "arguments" not in before.get("function", {}):
        return False
    before["function"]["arguments"] += after["function"]["arguments"]
    return True
