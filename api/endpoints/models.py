"""GET /v1/models and /v1/models/{id}."""

import msgspec

from api.answer_headers import JSON, common_headers
from api.http.responder import Responder
from api.parts import Models
from api.request import ApiRequest
from translate.errors import OpenAIError
from translate.models import choose_model, model_list, model_object


async def list_models(models: Models, request: ApiRequest, exchange: Responder) -> None:
    """List the names that apps usually look for. Any other name works as well: the model map has patterns."""
    body = msgspec.json.encode(model_list((*models.agents, *models.model_map)))
    await exchange.respond(200, [JSON, *common_headers()], body)


async def get_model(models: Models, request: ApiRequest, exchange: Responder) -> None:
    """Describe one model. A name that nothing maps gets OpenAI's 404, though a chat with it would be answered."""
    name = request.params["model"]
    if name in models.agents:
        await exchange.respond(200, [JSON, *common_headers()], msgspec.json.encode(model_object(name)))
        return
    choice = choose_model(name, models.model_map, models.default_model)
    if not choice.known:
        raise OpenAIError(f"The model '{name}' does not exist", status=404, param="model", code="model_not_found")
    headers = [JSON, *common_headers(), ("x-understudy-model", choice.model)]
    await exchange.respond(200, headers, msgspec.json.encode(model_object(name)))
