"""Check the API key and its budget before a request, and charge the usage after it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from api.http.responder import Responder
from api.http.server import Request
from api.meter import Meter
from auth.keys.budgets import Admission, Budgets, OverBudgetError
from auth.keys.clients import Client, Clients
from auth.keys.estimates import may_cost
from auth.keys.limits import MAX_USD
from auth.log_redaction import mask
from cassettes.usage import of_messages
from engine.agents import PREFIX
from storage.database import StoreError
from translate.errors import ErrorType, OpenAIError
from translate.prices import cost_of, price_is_known
from translate.turn import Turn

log = logging.getLogger(__name__)

KEY_HEADER = "x-understudy-key"
"""The header with the key of the proxy login. Then the key in ``authorization`` is OpenAI's and is not checked."""

RATE_LIMITED: tuple[ErrorType, str] = ("requests", "rate_limit_exceeded")
NO_QUOTA: tuple[ErrorType, str] = ("insufficient_quota", "insufficient_quota")


class Access:
    """The API keys and their budgets.

    ``unknown_price_as`` is the model whose price is used for models that are not in the price list.
    """

    def __init__(self, clients: Clients, budgets: Budgets, *, unknown_price_as: str | None = None) -> None:
        self._clients = clients
        self._budgets = budgets
        self._unknown_price_as = unknown_price_as

    async def check(self, secret: str) -> Client | None:
        """Return the client that owns this key, or None if the key is invalid."""
        return await self._clients.check(secret)

    async def holder(self, id: str) -> Client | None:
        """Return the client of a key by the key's id, or None if the key is no longer valid."""
        return await self._clients.get(id)

    async def client(self, request: Request) -> Client:
        """Return the client of a request. Raises OpenAIError: 401 without a valid key, 503 if the store fails."""
        secret = request.header(KEY_HEADER) or bearer(request)
        try:
            client = await self._clients.check(secret) if secret else None
        except StoreError as error:
            raise unavailable(error) from error
        if client is None:
            told = f"Incorrect API key provided: {mask(secret)}." if secret else "You didn't provide an API key."
            raise OpenAIError(
                f"{told} The operator of this proxy makes them with `understudy keys make`.",
                status=401,
                code="invalid_api_key",
            )
        return client

    async def run(
        self,
        client: Client,
        meter: Meter,
        model: str,
        exchange: Responder,
        answer: Callable[[], Awaitable[None]],
        claudes_model: str,
    ) -> None:
        """Answer a client's request within its budget, and charge the usage that ``meter`` has counted.

        ``model`` is the model name in the request. ``claudes_model`` is the Claude model that answers it.
        Raises OpenAIError: 403 if the key may not use the model, 429 if its budget is exceeded.
        """
        self._check_model(client, model, claudes_model)
        try:
            admission = await self._budgets.admit(client)
        except OverBudgetError as error:
            exchange.headers += error.headers
            raise over_budget(error) from error
        except StoreError as error:
            raise unavailable(error) from error
        exchange.headers += admission.headers

        async def reserve(turn: Turn, is_first: bool) -> None:
            usd = may_cost(turn, unknown_as=self._unknown_price_as or claudes_model)
            try:
                # Only the first turn can be refused. Later turns of the request are only counted.
                await self._budgets.reserve(admission, client, min(usd, MAX_USD), may_refuse=is_first)
            except OverBudgetError as error:
                exchange.headers += error.headers
                raise over_budget(error) from error
            except StoreError as error:
                if is_first:
                    raise unavailable(error) from error
                log.warning("what a turn may cost could not be reserved: %s", error)

        meter.before_turn = reserve
        try:
            await answer()
        finally:
            # Charge the usage even if the request failed or the client disconnected.
            await asyncio.shield(asyncio.ensure_future(self._settle(admission, meter, claudes_model)))

    def _check_model(self, client: Client, model: str, claudes_model: str) -> None:
        """Raise OpenAIError (403) if the key may not use the model, or the price is needed but unknown."""
        if model.startswith(PREFIX):
            if not client.may_use_agent(name := model.removeprefix(PREFIX)):
                told = f"This key may not use the agent {name!r}; `understudy keys make --agent` makes one that may."
                raise OpenAIError(told, status=403, param="model", code="model_not_allowed")
        elif not client.may_use_model(model):
            raise OpenAIError(
                f"This key may not use the model {model!r}.", status=403, param="model", code="model_not_allowed"
            )
        if client.budget.has_usd and not self._unknown_price_as and not price_is_known(claudes_model):
            raise OpenAIError(
                f"This key has a budget in US dollars, and the price of {claudes_model} is not known, so it cannot be"
                " asked with this key. The operator of this proxy can name a price with the setting unknown_price_as.",
                status=403,
                param="model",
                code="price_unknown",
            )

    async def _settle(self, admission: Admission, meter: Meter, claudes_model: str) -> None:
        messages = await meter.messages()
        used = of_messages(messages)
        tokens, usd, is_estimated = used.input + used.output, used.cost_usd, False
        if usd is None:
            # The model that answers may differ from the requested one, such as a newer model of an alias. Use an
            # estimate, so that the budget still applies.
            usd, is_estimated = cost_of(messages, unknown_as=self._unknown_price_as or claudes_model), True
        try:
            await self._budgets.settle(admission, tokens, usd, is_estimated and usd is not None)
        except StoreError as error:
            log.warning("%d tokens could not be booked: %s", tokens, error)


def over_budget(error: OverBudgetError) -> OpenAIError:
    """Return OpenAI's 429 for an exceeded budget."""
    kind, code = RATE_LIMITED if error.kind == "rate" else NO_QUOTA
    return OpenAIError(str(error), status=429, type=kind, code=code)


def bearer(request: Request) -> str:
    """Return the request's bearer token, as OpenAI's clients send it; "" if there is none."""
    scheme, _, secret = (request.header("authorization") or "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def unavailable(error: StoreError) -> OpenAIError:
    """Return the error (503) for keys that cannot be looked up. Log the reason."""
    log.warning("the store of keys cannot be used: %s", error)
    return OpenAIError("Keys cannot be checked at the moment.", status=503, type="server_error", code="unavailable")
