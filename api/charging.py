"""Runs a request's work on an engine, reports it to observers, counts its usage and charges the API key."""

import asyncio

from api.access import Access
from api.http.responder import Responder
from api.meter import Meter, Totals
from api.parts import Charge, Turns, Work
from api.request import ApiRequest
from auth.keys.clients import Client
from engine.observers import FLOW_HEADER, Observers
from translate.models import choose_model


def charge_for(
    request: ApiRequest,
    exchange: Responder,
    turns: Turns,
    *,
    access: Access | None,
    key: Client | None,
    observers: Observers,
    totals: Totals,
) -> Charge:
    """Return a function that runs work on the engine of ``turns`` and counts its usage.

    The function raises OpenAIError: 403 for a model that the key may not use, 404 for a name that no model can have,
    429 beyond the key's budget.
    """

    async def charge(work: Work) -> None:
        meter = Meter(turns.engine)

        async def count() -> None:
            totals.add(await meter.messages(), request.model)

        async def heard() -> None:
            try:
                with observers.around(meter, request.header(FLOW_HEADER)) as engine:
                    await work(engine)
            finally:
                # Count the usage however the turn ended, even if the client has disconnected.
                await asyncio.shield(asyncio.ensure_future(count()))

        if access is None or key is None:
            await heard()
            return
        claudes_model = choose_model(request.model, turns.model_map, turns.default_model).model
        await access.run(key, meter, request.model, exchange, heard, claudes_model)

    return charge
