"""GET /v1/models and /v1/models/{id}."""

from urllib.parse import unquote

import msgspec

from api.app import JSON, Service, common_headers
from api.http.server import Exchange, Request
from translate.errors import OpenAIError
from translate.models import choose_model, model_list, model_object


async def list_models(service: Service, request: Request, exchange: Exchange) -> None:
    """List the names that apps usually look for. Any other name works as well: the model map has patterns."""
    body = msgspec.json.encode(model_list((*service.agents, *service.model_map)))
    await exchange.respond(200, [JSON, *common_headers()], body)


async def get_model(service: Service, request: Request, exchange: Exchange) -> None:
    """Describe one model. A name that nothing maps gets OpenAI's 404, though a chat with it would be answered."""
    name = unquote(request.path.removeprefix("/v1/models/"))
    if name in service.agents:
        await exchange.respond(200, [JSON, *common_headers()], msgspec.json.encode(model_object(name)))
        return
    choice = choose_model(name, service.model_map, service.default_model)
    if not choice.known:
        raise OpenAIError(f"The model '{name}' does not exist", status=404, param="model", code="model_not_found")
    headers = [JSON, *common_headers(), ("x-understudy-model", choice.model)]
    await exchange.respond(200, headers, msgspec.json.encode(model_object(name)))
