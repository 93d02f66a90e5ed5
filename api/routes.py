"""The table of routes, and the objects that each endpoint works with."""

from collections.abc import Awaitable, Callable

from api.app import Call, CallRoute
from api.endpoints import batches, conversations, files, response_socket, sessions
from api.endpoints import stored_chat_completions as kept_chats
from api.endpoints.background import create_in_background
from api.endpoints.chat_completions import create_chat_completion
from api.endpoints.compaction import compact_response
from api.endpoints.completions import create_completion
from api.endpoints.endpoint_list import endpoint_list
from api.endpoints.input_tokens import count_input_tokens
from api.endpoints.models import get_model, list_models
from api.endpoints.monitoring import get_auth_status, get_health, take_traces
from api.endpoints.responses import create_response
from api.endpoints.status import RECORD_PATH, STATUS_PATH, get_status, switch_recording
from api.endpoints.stored_responses import cancel_response, delete_response, get_response, list_input_items
from api.http.responder import Responder
from api.parts import Background, Batching, KeptResponses, Models, Responding, Status, Turns, required
from api.request import ApiRequest
from api.routing import Route
from storage.stores import Stores


def given[Part](
    part: Callable[[Call], Part], endpoint: Callable[[Part, ApiRequest, Responder], Awaitable[None]]
) -> Callable[[Call], Awaitable[None]]:
    """Return an endpoint that calls ``endpoint`` with ``part`` of the call and the request."""

    async def answer(call: Call) -> None:
        await endpoint(part(call), call.request, call.exchange)

    return answer


def turns(call: Call) -> Turns:
    """Return the objects for requests that need Claude."""
    return call.turns


def responding(call: Call) -> Responding:
    """Return the objects for requests of the Responses API."""
    return call.responding


def background(call: Call) -> Background:
    """Return the objects for background requests of the Responses API."""
    assert call.charge is not None  # noqa: S101 - the request is for the background
    return Background(call.responding, call.charge)


def stores(call: Call) -> Stores:
    """Return the stores. Raises OpenAIError (404) if there are none."""
    return required(call.turns.stores)


def batching(call: Call) -> Batching:
    """Return the stores, and the key that pays for a batch. Raises OpenAIError (404) if there are no stores."""
    return Batching(required(call.turns.stores), None if call.key is None else call.key.id)


def kept(call: Call) -> KeptResponses:
    """Return the stored responses. Raises OpenAIError (404) if nothing is stored."""
    return KeptResponses(required(call.turns.stores), call.turns.keep_alive_s)


def models(call: Call) -> Models:
    """Return the model names that apps can request."""
    return Models(call.turns.model_map, call.turns.default_model, tuple(call.app.parts.agents))


def status(call: Call) -> Status:
    """Return the data of the status page."""
    return call.app.parts.status


def sockets(call: Call) -> response_socket.Sockets:
    """Return the objects and limits that WebSockets need."""
    parts = call.app.parts
    return response_socket.Sockets(call.app, call.responding, parts.observers, parts.max_message_bytes)


_ENDPOINTS: tuple[CallRoute, ...] = (
    Route("POST", "/v1/chat/completions", given(turns, create_chat_completion), asks_claude=True),
    Route("GET", "/v1/chat/completions", given(stores, kept_chats.list_chats)),
    Route("GET", "/v1/chat/completions/{id}", given(stores, kept_chats.get_chat)),
    Route("POST", "/v1/chat/completions/{id}", given(stores, kept_chats.update_chat)),
    Route("DELETE", "/v1/chat/completions/{id}", given(stores, kept_chats.delete_chat)),
    Route("GET", "/v1/chat/completions/{id}/messages", given(stores, kept_chats.list_messages)),
    Route("POST", "/v1/completions", given(turns, create_completion), asks_claude=True),
    Route("POST", "/v1/engines/{model}/completions", given(turns, create_completion), asks_claude=True),
    Route("GET", "/v1/models", given(models, list_models)),
    Route("GET", "/v1/models/{model…}", given(models, get_model)),
    Route(
        *("POST", "/v1/responses", given(responding, create_response)),
        asks_claude=True,
        background=given(background, create_in_background),
    ),
    Route("GET", "/v1/responses", given(sockets, response_socket.connect)),
    Route("GET", "/v1/responses/{id}", given(kept, get_response)),
    Route("DELETE", "/v1/responses/{id}", given(stores, delete_response)),
    Route("POST", "/v1/responses/compact", given(responding, compact_response), asks_claude=True),
    Route("POST", "/v1/responses/input_tokens", given(responding, count_input_tokens), asks_claude=True),
    Route("POST", "/v1/responses/{id}/cancel", given(stores, cancel_response)),
    Route("GET", "/v1/responses/{id}/input_items", given(stores, list_input_items)),
    Route("POST", "/v1/conversations", given(stores, conversations.create_conversation)),
    Route("GET", "/v1/conversations/{id}", given(stores, conversations.get_conversation)),
    Route("POST", "/v1/conversations/{id}", given(stores, conversations.update_conversation)),
    Route("DELETE", "/v1/conversations/{id}", given(stores, conversations.delete_conversation)),
    Route("GET", "/v1/conversations/{id}/items", given(stores, conversations.list_items)),
    Route("POST", "/v1/conversations/{id}/items", given(stores, conversations.add_items)),
    Route("GET", "/v1/conversations/{id}/items/{item_id}", given(stores, conversations.get_item)),
    Route("DELETE", "/v1/conversations/{id}/items/{item_id}", given(stores, conversations.delete_item)),
    Route("POST", "/v1/files", given(stores, files.create_file), reads_form=True),
    Route("GET", "/v1/files", given(stores, files.list_files)),
    Route("GET", "/v1/files/{id}", given(stores, files.get_file)),
    Route("DELETE", "/v1/files/{id}", given(stores, files.delete_file)),
    Route("GET", "/v1/files/{id}/content", given(stores, files.get_content)),
    Route("POST", "/v1/uploads", given(stores, files.create_upload)),
    Route("POST", "/v1/uploads/{id}/parts", given(stores, files.add_part), reads_form=True),
    Route("POST", "/v1/uploads/{id}/complete", given(stores, files.complete_upload)),
    Route("POST", "/v1/uploads/{id}/cancel", given(stores, files.cancel_upload)),
    Route("POST", "/v1/batches", given(batching, batches.create_batch)),
    Route("GET", "/v1/batches", given(stores, batches.list_batches)),
    Route("GET", "/v1/batches/{id}", given(stores, batches.get_batch)),
    Route("POST", "/v1/batches/{id}/cancel", given(stores, batches.cancel_batch)),
    Route("GET", "/v1/sessions", given(stores, sessions.list_sessions)),
    Route("GET", "/v1/sessions/stats", given(stores, sessions.get_totals)),
    Route("GET", "/v1/sessions/{id}", given(stores, sessions.get_session)),
    Route("DELETE", "/v1/sessions/{id}", given(stores, sessions.delete_session)),
    Route("GET", "/v1/auth/status", given(status, get_auth_status)),
    Route("POST", "/v1/traces/ingest", given(status, take_traces)),
    Route("GET", "/health", given(status, get_health), for_everybody=True),
    Route("GET", STATUS_PATH, given(status, get_status)),
    Route("POST", RECORD_PATH, given(status, switch_recording)),
)

ROUTES: tuple[CallRoute, ...] = (Route("GET", "/v1", endpoint_list(_ENDPOINTS)), *_ENDPOINTS)
