"""OpenAI's legacy Completions API: a request becomes chat completion requests, and their chunks become completions.

Source: https://platform.openai.com/docs/api-reference/completions. A prompt is a text that the model continues. Claude
is told this in its system prompt. Chunks and complete answers have the same form, ``text_completion``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from translate.chat.messages import invalid_type
from translate.chat.parameters import Fate, Parameter, check_parameters
from translate.chat.request import Translated, translate_request
from translate.chat.wire import ChatCompletionChunk, StreamOptions
from translate.errors import OpenAIError
from translate.models import DEFAULT_MODEL, DEFAULT_MODEL_MAP
from translate.usage import CompletionUsage

INSTRUCTION = (
    "Continue the text that you are given, from where it ends. Answer with the continuation alone: do not repeat the"
    " text, and say nothing about it."
)

MAX_TOKENS = 16
"""OpenAI's default."""

MAX_CHOICES = 128

H, R, A = Fate.HONOURED, Fate.REFUSED, Fate.ACCEPTED

COMPLETION_PARAMETERS: dict[str, Parameter] = {
    "model": Parameter(H, "mapped onto a Claude model; the answer carries the name asked for"),
    "prompt": Parameter(
        H, "a text, or a list of texts: for each, Claude is asked in one turn to continue it; tokens are refused"
    ),
    "max_tokens": Parameter(H, "Claude's `max_tokens`; 16 if it is absent, as at OpenAI"),
    "temperature": Parameter(H, "as for chat completions"),
    "top_p": Parameter(H, "as for chat completions"),
    "stop": Parameter(
        H,
        "Claude's `stop_sequences`; Claude does not accept sequences of white space only: Understudy cuts the answer"
        " at them",
    ),
    "n": Parameter(H, "one turn for each choice of each prompt, at once"),
    "echo": Parameter(H, "the prompt comes before the continuation"),
    "stream": Parameter(H, "chunks as Claude's deltas arrive"),
    "stream_options": Parameter(
        H, "`include_usage`; `include_obfuscation` has no effect: OpenAI's chunks of this kind are not padded"
    ),
    "user": Parameter(H, "as for chat completions"),
    "best_of": Parameter(R, "Claude gives no log probabilities to choose by", unless=(1,)),
    "suffix": Parameter(R, "Claude continues a text and does not fill a gap in one", unless=("",)),
    "logprobs": Parameter(R, "Claude gives no log probabilities", unless=(0,)),
    "logit_bias": Parameter(R, "Claude's tokens cannot be weighted; apps use this to restrict answers", unless=({},)),
    "frequency_penalty": Parameter(A, "Claude has no such penalty", unless=(0,)),
    "presence_penalty": Parameter(A, "Claude has no such penalty", unless=(0,)),
    "seed": Parameter(A, "Claude does not sample by seed; OpenAI promises no more than best effort"),
}

CHATS = ("model", "temperature", "top_p", "stop", "user", "stream", "stream_options")
"""The fields that have the same meaning in a chat completion request."""


class CompletionRequest(msgspec.Struct, frozen=True):
    """The fields of ``POST /v1/completions`` that reach Claude or shape the answer."""

    model: Annotated[str, msgspec.Meta(min_length=1)]
    prompt: str | list[Any] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    best_of: int | None = None
    echo: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None


class CompletionChoice(msgspec.Struct, frozen=True):
    """A continuation, or a piece of it."""

    text: str
    index: int
    logprobs: None
    finish_reason: Literal["stop", "length", "content_filter"] | None


class Completion(msgspec.Struct, frozen=True):
    """An answer, or a chunk of it."""

    id: str
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage | msgspec.UnsetType | None = msgspec.UNSET
    object: Literal["text_completion"] = "text_completion"


@dataclass(frozen=True, slots=True)
class TranslatedCompletion:
    """A translated request: for each choice its chat, in the order of the prompts, and the prompt to echo or ""."""

    request: CompletionRequest
    chats: tuple[Translated, ...]
    echoes: tuple[str, ...]
    ignored: tuple[str, ...]


def translate_completion_request(
    fields: Mapping[str, Any], model_map: Mapping[str, str] = DEFAULT_MODEL_MAP, default_model: str = DEFAULT_MODEL
) -> TranslatedCompletion:
    """Translate each prompt to a chat. Raises OpenAIError (400) that names what is malformed or not supported."""
    best_of = fields.get("best_of")
    # If best_of equals n, all choices are returned, and there is nothing to choose.
    checked = {name: value for name, value in fields.items() if name != "best_of" or value != (fields.get("n") or 1)}
    ignored = check_parameters(checked, COMPLETION_PARAMETERS)
    try:
        request = msgspec.convert(fields, CompletionRequest)
    except msgspec.ValidationError as error:
        raise invalid_type(error) from None
    prompts = _prompts(request.prompt)
    n = request.n or 1
    if n * len(prompts) > MAX_CHOICES:
        message = f"Invalid 'n': {n} choices for {len(prompts)} prompts are more than {MAX_CHOICES}."
        raise OpenAIError(message, param="n", code="invalid_value")
    if isinstance(best_of, bool):
        raise OpenAIError("Invalid type for 'best_of': expected an integer.", param="best_of", code="invalid_type")
    chat = {name: fields[name] for name in CHATS if fields.get(name) is not None}
    chat["max_tokens"] = request.max_tokens or MAX_TOKENS
    chats: list[Translated] = []
    for prompt in prompts:
        said = [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": prompt}]
        one = translate_request({**chat, "messages": said}, model_map, default_model)
        chats += [one] * n
    echoes = tuple(prompt if request.echo else "" for prompt in prompts for _ in range(n))
    # The messages of the chats are made here. Of the chats' reports, those of shared parameters are the app's.
    unused = dict.fromkeys([*ignored, *chats[0].ignored])
    return TranslatedCompletion(request, tuple(chats), echoes, tuple(unused))


def _prompts(prompt: str | Sequence[Any] | None) -> list[str]:
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        message = "You must provide a 'prompt': a text, or a list of texts."
        raise OpenAIError(message, param="prompt", code="missing_required_parameter")
    if not all(isinstance(one, str) for one in prompt):
        message = "Unsupported 'prompt': texts are expected; tokens of OpenAI's models mean nothing to Claude."
        raise OpenAIError(message, param="prompt", code="unsupported_value")
    return list(prompt)


class CompletionStream:
    """Makes chunks of completions of the chunks of chats. Feed it the chunks of all choices."""

    def __init__(self, *, id: str, created: int, model: str, echoes: Sequence[str], has_usage: bool) -> None:
        self._head: dict[str, Any] = {"id": id, "created": created, "model": model}
        self._echoes = list(echoes)
        self._null: dict[str, Any] = {"usage": None} if has_usage else {}

    def feed(self, chunks: Iterable[ChatCompletionChunk]) -> list[Completion]:
        """Return the chunks of the completion. Chunks without text, finish reason or usage give none."""
        told: list[Completion] = []
        for chunk in chunks:
            if not chunk.choices and isinstance(chunk.usage, CompletionUsage):
                told.append(Completion(**self._head, choices=[], usage=chunk.usage))
            for choice in chunk.choices:
                delta = choice.delta
                pieces = [piece for piece in (delta.content, delta.refusal) if isinstance(piece, str)]
                reason = choice.finish_reason
                text, self._echoes[choice.index] = self._echoes[choice.index] + "".join(pieces), ""
                if text or reason:
                    ended: Any = reason if reason in ("stop", "length", "content_filter", None) else "stop"
                    one = CompletionChoice(text=text, index=choice.index, logprobs=None, finish_reason=ended)
                    told.append(Completion(**self._head, choices=[one], **self._null))
        return told


def fold_completion(chunks: Iterable[Completion], usage: CompletionUsage) -> Completion:
    """Return the complete answer. Raises ValueError if the chunks are not a complete answer."""
    texts: dict[int, list[str]] = {}
    reasons: dict[int, Any] = {}
    last: Completion | None = None
    for last in chunks:
        for choice in last.choices:
            texts.setdefault(choice.index, []).append(choice.text)
            reasons[choice.index] = choice.finish_reason or reasons.get(choice.index)
    if last is None or not texts or None in reasons.values():
        raise ValueError("the chunks are not a complete answer")
    choices = [CompletionChoice("".join(texts[index]), index, None, reasons[index]) for index in sorted(texts)]
    return Completion(last.id, last.created, last.model, choices, usage)
