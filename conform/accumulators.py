"""Checks how openai-python reads an answer. It gets the bytes that came. The server is not asked again."""

import importlib
import importlib.util
import warnings
from collections.abc import Iterator
from typing import Any

from conform.answers import final_response
from conform.chat_stream import folded
from conform.exchange import Exchange, Problem, short

SKIPPED = "openai-python's own reading: openai is not installed"


def is_installed() -> bool:
    """Return whether openai-python can be imported."""
    return importlib.util.find_spec("openai") is not None


def check_with_openai(exchange: Exchange) -> Iterator[Problem]:
    """Read an answer with openai-python, and compare the result with the answer. Without the library, check nothing."""
    if exchange.messages is not None or exchange.dialect == "models" or not is_installed():
        return
    import openai

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library warns of answers that are newer than itself
            yield from list(_read(_client(exchange), exchange))
    except (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError):
        pass  # the library reports in this way that an answer ended early
    except openai.APIStatusError as error:
        if not exchange.is_error:
            yield Problem("openai-python", f"it raises {type(error).__name__}", "an answer")
        elif not isinstance(error.body, dict):
            yield Problem("openai-python", f"it finds no error in {short(exchange.text)}", "an error with its fields")
    except openai.APIError as error:
        if not any("error" in event.fields for event in exchange.events):
            yield Problem("openai-python", f"it raises {type(error).__name__}", "an answer")
    except Exception as error:
        # An app would get the same exception, whichever it is.
        yield Problem("openai-python", f"it raises {type(error).__name__}: {short(str(error))}", "an answer")


def _client(exchange: Exchange) -> Any:
    """Return a client that gets the answer of the exchange for every request."""
    import openai

    # Find the HTTP library that openai-python uses. It has changed once.
    base = next(one for one in openai.DefaultHttpxClient.__mro__ if one.__name__ == "Client")
    library: Any = importlib.import_module(base.__module__.partition(".")[0])

    def answer(_: Any) -> Any:
        headers = {"content-type": exchange.headers.get("content-type", "")}
        return library.Response(exchange.status, headers=headers, content=exchange.text.encode())

    http = library.Client(transport=library.MockTransport(answer))
    return openai.OpenAI(api_key="-", base_url="http://server.invalid/v1", max_retries=0, http_client=http)


def _read(client: Any, exchange: Exchange) -> Iterator[Problem]:
    match exchange.dialect, exchange.is_stream:
        case "chat", True:
            with client.chat.completions.stream(model="-", messages=[], n=exchange.asked.get("n") or 1) as stream:
                yield from _same_choices(stream.get_final_completion(), exchange)
        case "chat", False:
            completion = client.chat.completions.create(model="-", messages=[])
            if not completion.choices or completion.choices[0].message is None:
                yield Problem("openai-python", "it finds no message", "choices[0].message")
        case "responses", True:
            with client.responses.stream(model="-", input="-") as stream:
                for _ in stream:
                    pass
                # The library has a final response only if the response is complete.
                if (final_response(exchange) or {}).get("status") == "completed":
                    yield from _same_response(stream.get_final_response(), exchange)
        case "responses", False:
            yield from _same_response(client.responses.create(model="-", input="-"), exchange)
        case "completions", True:
            text = "".join(
                choice.text or ""
                for chunk in client.completions.create(model="-", prompt="-", stream=True)
                for choice in chunk.choices
            )
            wanted = "".join(choice.text for choice in folded(exchange).values())
            if len(text) != len(wanted):
                yield Problem("openai-python", short(text), short(wanted))
        case _:
            client.completions.create(model="-", prompt="-")


def _same_choices(completion: Any, exchange: Exchange) -> Iterator[Problem]:
    for index, choice in folded(exchange).items():
        found = next((one for one in completion.choices if one.index == index), None)
        if found is None:
            yield Problem(f"openai-python, choice {index}", "none", "a choice")
            continue
        calls = [(call.id, call.function.name, call.function.arguments) for call in found.message.tool_calls or []]
        pairs = [
            ("content", found.message.content or "", choice.text),
            ("finish_reason", found.finish_reason, choice.finish_reason),
            ("tool_calls", calls, [(call["id"], call["name"], call["arguments"]) for call in choice.calls.values()]),
        ]
        for name, came, wanted in pairs:
            if came != wanted:
                yield Problem(f"openai-python, choice {index}, {name}", short(came), short(wanted))


def _same_response(response: Any, exchange: Exchange) -> Iterator[Problem]:
    told = final_response(exchange) or {}
    parts = [
        part
        for item in told.get("output") or []
        for part in item.get("content") or []
        if isinstance(part, dict) and part.get("type") == "output_text"
    ]
    wanted = "".join(part.get("text") or "" for part in parts)
    if response.output_text != wanted:
        yield Problem("openai-python, output_text", short(response.output_text), short(wanted))
    if len(response.output) != len(told.get("output") or []):
        yield Problem(
            "openai-python, output", f"{len(response.output)} items", f"{len(told.get('output') or [])} items"
        )
