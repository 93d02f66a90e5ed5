"""Tokens are counted with an API key, and with nothing else."""

import pytest

from auth.credentials.counting import counter_for
from auth.credentials.sources import PROVIDERS, REHEARSAL, find_source
from rehearsal.server import Rehearsal
from translate.turn import Message, Turn

pytestmark = pytest.mark.anyio

TURN = Turn(model="sonnet", messages=(Message("user", ({"type": "text", "text": "12345678"},)),))


@pytest.mark.parametrize("kind", ["api-key", "rehearsal"])
async def test_an_api_key_counts_where_claude_code_asks(kind: str) -> None:
    async with Rehearsal(delay_s=0) as rehearsal:
        environ = {"ANTHROPIC_API_KEY": "sk-ant-api-1", "ANTHROPIC_BASE_URL": rehearsal.base_url}
        count = counter_for(REHEARSAL if kind == "rehearsal" else find_source(environ), environ)
        assert count is not None
        counted = await count(TURN)

    assert [(one.method, one.path) for one in rehearsal.requests] == [("POST", "/v1/messages/count_tokens")]
    assert counted is not None and counted > 2


@pytest.mark.parametrize("source", [one for one in PROVIDERS if one.name != "api-key"], ids=lambda one: one.name)
def test_other_credentials_count_nothing_even_beside_a_key(source: object) -> None:
    environ = {"ANTHROPIC_API_KEY": "sk-ant-api-1", "ANTHROPIC_AUTH_TOKEN": "t", "CLAUDE_CODE_OAUTH_TOKEN": "t"}

    assert counter_for(source, environ) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["", " ", "sk-ant-oat01-x"])
def test_a_subscriptions_token_in_the_variable_for_keys_counts_nothing(key: str) -> None:
    source = next(one for one in PROVIDERS if one.name == "api-key")

    assert counter_for(source, {"ANTHROPIC_API_KEY": key}) is None
