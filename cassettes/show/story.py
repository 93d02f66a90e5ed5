"""Makes one exchange readable: request, models, answer, usage, cost and end. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cassettes.assemble import is_event_stream
from cassettes.format import Entry, Headers, How, Request
from cassettes.openai_bodies import model_of, tool_name, tools_of
from cassettes.outcome import outcome
from cassettes.show.answer import Answer, answer, unwrapped
from cassettes.show.parts import Part, Said, said, text_of
from cassettes.show.safe import size, without_blobs
from cassettes.usage import MODEL_HEADER, Usage, claude_usage, entry_usage
from translate.prices import count
from translate.usage import MessageUsage

CONVERSATION = ("messages", "instructions", "input", "prompt")
TOOLS = ("tools", "functions")
OF_A_TURN = ("messages", "system", "tools")  # fields of a Turn that repeat the request or are long


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token counts; None if unknown. ``input`` includes the tokens that were read from the cache (``cached``)."""

    input: int | None = None
    output: int | None = None
    cached: int | None = None
    reasoning: int | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """One exchange.

    - ``asked``: the model that the app named. ``answered``: the model that answered. None: not known.
    - ``request``: the conversation. ``tools``: the names of the tools. ``parameters``: the rest of the request.
    - ``turn``: the settings of Claude's turn, without the conversation. ``turns``: the number of turns.
    - ``tokens`` and ``cost_usd``: from :mod:`cassettes.usage`. ``is_unpriced``: the price is not known.
    - ``usage``: the usage that was sent to the app. ``error``: one line.
    - ``how``: as in the cassette. ``outcome``: ``done`` only if the app got what it asked for.
    - ``ms``: the total time. ``started``: ISO 8601, UTC.
    - ``left_out``: what was not recorded, in words.
    """

    id: str
    started: str
    method: str
    path: str
    asked: str | None
    answered: str | None
    request: tuple[Said, ...]
    tools: tuple[str, ...]
    parameters: Mapping[str, Any]
    turn: Mapping[str, Any] | None
    turns: int
    answer: Answer
    tokens: Tokens
    usage: Mapping[str, Any] | None
    cost_usd: float | None
    is_unpriced: bool
    status: int | None
    process: str | None
    error: str | None
    how: How
    outcome: How
    ms: float
    is_stream: bool
    left_out: tuple[str, ...]


def story(entry: Entry) -> Story:
    """Return the story of an entry. Raises only RecursionError, even for malformed requests and answers."""
    body = entry.request.json if isinstance(entry.request.json, dict) else {}
    is_stream = was_streamed(entry)
    events = [(event.of, event.value) for event in entry.events]
    told = answer(entry.message, entry.body, events, is_stream=is_stream)
    usage = entry.usage if entry.usage is not None else told.usage
    used = entry_usage(entry if entry.usage is not None else replace(entry, usage=usage))
    claude = claude_usage(entry.events) if entry.claude_usage is None else entry.claude_usage
    error = entry.error if entry.error is not None else told.error
    known = {*CONVERSATION, *TOOLS, "model"}
    return Story(
        id=entry.id,
        started=entry.started,
        method=entry.request.method,
        path=entry.request.path,
        asked=model_of(body),
        answered=answering_model(entry, told),
        request=tuple(conversation(entry.request)),
        tools=tuple(_tools(body)),
        parameters={name: without_blobs(value) for name, value in body.items() if name not in known},
        turn=_settings_of(entry.turn),
        turns=(entry.turn is not None) + len(entry.more_turns),
        answer=told,
        tokens=tokens_of(used, usage, claude),
        usage=usage,
        cost_usd=used.cost_usd if used is not None else None,
        is_unpriced=used is not None and used.cost_usd is None,
        status=entry.status,
        process=entry.process,
        error=None if error is None else error_text(error),
        how=entry.how,
        outcome=outcome(entry.how, entry.status, error, entry.request.method),
        ms=entry.ms,
        is_stream=is_stream,
        left_out=tuple(", ".join(f"{name}: {text_of(value)}" for name, value in one.items()) for one in entry.left_out),
    )


def conversation(request: Request) -> Iterator[Said]:
    """Yield the messages of a request, for all API formats. If the body is not a conversation, yield the body."""
    body = request.json
    if not isinstance(body, dict) or not any(name in body for name in CONVERSATION):
        if body is None and request.body:
            yield Said("body", (_raw(request.body),))
        elif not isinstance(body, dict) and body is not None:
            yield Said("body", (Part("other", text_of(body)),))
        return
    if body.get("instructions") is not None:
        yield Said("system", said({"role": "system", "content": body["instructions"]}).parts)
    for name in ("messages", "input"):
        value = body.get(name)
        if isinstance(value, list):
            yield from map(said, value)
        elif value is not None:
            yield said(value)
    yield from _prompts(body.get("prompt"))


def _raw(body: bytes) -> Part:
    try:
        return Part("text", body.decode())
    except UnicodeDecodeError:
        return Part("file", size(len(body)))


def _prompts(prompt: Any) -> Iterator[Said]:
    """Read the legacy prompt: a text, a list of texts, or tokens. In Responses, ``prompt`` names a template."""
    if isinstance(prompt, list) and not all(isinstance(one, int) for one in prompt):
        for one in prompt:
            yield from _prompts(one)
    elif isinstance(prompt, list):
        yield Said("user", (Part("other", f"{len(prompt)} tokens", "tokens"),))
    elif isinstance(prompt, str):
        yield Said("user", (Part("text", prompt),))
    elif prompt is not None:
        yield Said("user", (Part("other", text_of(prompt), "prompt"),))


def _tools(body: Mapping[str, Any]) -> Iterator[str]:
    for tool in tools_of(body):
        yield tool_name(tool) or "?"


def _settings_of(turn: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if turn is None else {name: value for name, value in turn.items() if name not in OF_A_TURN}


def was_streamed(entry: Entry) -> bool:
    """Return whether the answer was an event stream."""
    if content_type := header(entry.headers, "content-type"):
        return is_event_stream(content_type)
    return bool(entry.chunks) and looks_streamed(entry.chunks[0].data)


def looks_streamed(data: bytes) -> bool:
    """Return whether an answer that begins with these bytes is an event stream."""
    return data.lstrip().startswith((b"data:", b"event:", b":", b"id:", b"retry:"))


def header(headers: Headers, name: str) -> str:
    """Return the first value of a header, or "". Header names in a cassette are in lower case."""
    value = headers.get(name, "")
    return (value[0] if value else "") if isinstance(value, list) else value


def answering_model(entry: Entry, told: Answer) -> str | None:
    """Return the model that answered, or None.

    It is read from the first of these that names one: Claude's events, our own response header, the Turn, the answer.
    The answer comes last, because it repeats the name that the app used.
    """
    by_claude = next((name for event in entry.events if (name := claudes_model(event.value))), "")
    by_turn = text_of(entry.turn.get("model")) if entry.turn is not None else ""
    return by_claude or header(entry.headers, MODEL_HEADER) or by_turn or told.model or None


def claudes_model(event: Mapping[str, Any]) -> str:
    """Return the model that an event of Claude names, or ""."""
    event = unwrapped(event)
    message = event.get("message")
    if event.get("type") != "message_start" or not isinstance(message, Mapping):
        return ""
    return text_of(message.get("model"))


def tokens_of(
    used: Usage | None, told: Mapping[str, Any] | None, claude: Sequence[MessageUsage] | None = None
) -> Tokens:
    """Return the tokens of an exchange. The thinking tokens come from Claude's usage, or from the app's (``told``)."""
    if used is None:
        return Tokens()
    return Tokens(used.input, used.output, used.cached, _thought(told, claude or ()))


def _thought(told: Mapping[str, Any] | None, claude: Sequence[MessageUsage]) -> int | None:
    """Return the number of thinking tokens, None if no usage has it."""
    details = [message.usage.get("output_tokens_details") for message in claude]
    if any(isinstance(one, Mapping) and "thinking_tokens" in one for one in details):
        return sum(count(one, "thinking_tokens") for one in details)
    for name in ("completion_tokens_details", "output_tokens_details"):
        if isinstance(one := (told or {}).get(name), Mapping) and "reasoning_tokens" in one:
            return count(one, "reasoning_tokens")
    return None


def error_text(error: Any) -> str:
    """Write an error in one line: its message, then its type and code if there are any."""
    if not isinstance(error, Mapping):
        return text_of(error)
    message = text_of(error.get("message"))
    kinds = [text_of(error[name]) for name in ("type", "code") if error.get(name) not in (None, "")]
    if not message:
        return text_of(error)
    return f"{message} ({', '.join(kinds)})" if kinds else message
