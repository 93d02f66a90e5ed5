"""Counts the input tokens of a turn with Anthropic's API, without playing the turn.

Claude Code has no such function, so Understudy asks the API itself: ``POST /v1/messages/count_tokens``
(https://docs.anthropic.com/en/api/messages-count-tokens). It costs nothing. It needs an API key: a login of a Claude
subscription is only for Claude Code, and is never used here.

This is a separate module because `httpx` takes a tenth of a second to import, and few apps count tokens.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

import httpx

from engine.aside import aside
from engine.errors import ClaudeError
from engine.reach import PORTS, proxy_url, trusted
from engine.renaming import renamed_for_claude, too_deep
from translate.models import ALIASES
from translate.property_names import names_of_tools
from translate.reasons import reason
from translate.turn import Turn, turn_weight

log = logging.getLogger(__name__)

LIMIT_S = 20.0
"""How many seconds a count may take."""

VERSION = "2023-06-01"

IDENTITY = "You are a Claude agent, built on Anthropic's Claude Agent SDK."
"""The block that Claude Code puts before the system prompt of each request (fact F1). It is part of the input."""

CUSTOM_HEADERS = "ANTHROPIC_CUSTOM_HEADERS"
"""Claude Code's variable with further headers for the API, one a line. Gateways need them."""


class TokenCounter:
    """Counts tokens at ``base_url``, with ``api_key``. ``environ`` has the proxy, the certificates and the headers."""

    def __init__(self, base_url: str, api_key: str, environ: Mapping[str, str]) -> None:
        self._url = f"{base_url.rstrip('/')}/v1/messages/count_tokens"
        self._environ = environ
        own = {"x-api-key": api_key, "anthropic-version": VERSION, "content-type": "application/json"}
        self._headers = {**custom_headers(environ.get(CUSTOM_HEADERS, "")), **own}

    async def __call__(self, turn: Turn) -> int | None:
        """Return how many tokens the input of a turn has. None if the API does not say it, for example to this key.

        Raises ClaudeError (``invalid_request_error``) if the API refuses the turn, or if it is nested too deeply.
        """
        try:
            body = await aside(turn_weight(turn), _encoded, turn)
            url = httpx.URL(self._url)
            tls = url.scheme == "https"
            context = (
                await asyncio.to_thread(trusted, self._environ.get("NODE_EXTRA_CA_CERTS") or None) if tls else False
            )
            proxy = proxy_url(url.scheme, url.host, url.port or PORTS.get(url.scheme, 0), self._environ)
            # Nothing of this process's own environment: Claude Code's may be another one.
            async with httpx.AsyncClient(verify=context, proxy=proxy, trust_env=False, timeout=LIMIT_S) as client:
                answer = await client.post(url, content=body, headers=self._headers)
            told = answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            log.warning("the tokens were not counted, but estimated: %s", type(error).__name__)
            return None
        match told:
            case {"input_tokens": int(tokens)} if answer.status_code == 200:
                return tokens
            case {"error": {"type": "invalid_request_error", "message": str(message)}} if answer.status_code == 400:
                raise ClaudeError("invalid_request_error", detail=message, reason=reason(message))
        log.warning("the tokens were not counted, but estimated: the API answered %d", answer.status_code)
        return None


def counted(turn: Turn) -> dict[str, Any]:
    """Return the body of the request: what of a turn is its input, as Claude Code would send it.

    Raises ClaudeError (``invalid_request_error``) if the turn is nested too deeply.
    """
    if names := names_of_tools(turn.tools):
        turn = renamed_for_claude(turn, names)
    system = [IDENTITY, *([turn.system] if turn.system else [])]
    body: dict[str, Any] = {
        "model": ALIASES.get(turn.model.lower(), turn.model),
        "system": [{"type": "text", "text": text} for text in system],
        "messages": [{"role": said.role, "content": [dict(block) for block in said.content]} for said in turn.messages],
    }
    if turn.tools:
        body["tools"] = [dict(tool) for tool in turn.tools]
    if turn.tool_choice is not None:
        body["tool_choice"] = dict(turn.tool_choice)
    if turn.thinking is not None:
        body["thinking"] = dict(turn.thinking)
    if turn.output_format is not None:
        body["output_config"] = {"format": dict(turn.output_format)}
    return body


def _encoded(turn: Turn) -> bytes:
    try:
        return json.dumps(counted(turn), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except RecursionError:
        raise too_deep() from None


def custom_headers(lines: str) -> dict[str, str]:
    """Return the headers in the value of ``ANTHROPIC_CUSTOM_HEADERS``: a name, a colon and a value in each line."""
    pairs = (line.partition(":") for line in lines.splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon and name.strip()}
