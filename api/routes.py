"""What is answered: the table of routes."""

from api.app import Route
from api.endpoints import conversations, response_socket, sessions
from api.endpoints import stored_chat_completions as kept_chats
from api.endpoints.background import create_in_background
from api.endpoints.chat_completions import create_chat_completion
from api.endpoints.compaction import compact_response
from api.endpoints.completions import create_completion
from api.endpoints.endpoint_list import endpoint_list
from api.endpoints.models import get_model, list_models
from api.endpoints.monitoring import get_auth_status, get_health, take_traces
from api.endpoints.responses import create_response
from api.endpoints.status import RECORD_PATH, STATUS_PATH, get_status, switch_recording
from api.endpoints.stored_responses import cancel_response, delete_response, get_response, list_input_items

_ENDPOINTS: tuple[Route, ...] = (
    Route("POST", "/v1/chat/completions", create_chat_completion, asks_claude=True),
    Route("GET", "/v1/chat/completions", kept_chats.list_chats),
    Route("GET", "/v1/chat/completions/*", kept_chats.get_chat),
    Route("POST", "/v1/chat/completions/*", kept_chats.update_chat),
    Route("DELETE", "/v1/chat/completions/*", kept_chats.delete_chat),
    Route("GET", "/v1/chat/completions/*/messages", kept_chats.list_messages),
    Route("POST", "/v1/completions", create_completion, asks_claude=True),
    Route("GET", "/v1/models", list_models),
    Route("GET", "/v1/models/**", get_model),
    Route("POST", "/v1/responses", create_response, asks_claude=True, background=create_in_background),
    Route("GET", "/v1/responses", response_socket.connect),
    Route("GET", "/v1/responses/*", get_response),
    Route("DELETE", "/v1/responses/*", delete_response),
    Route("POST", "/v1/responses/compact", compact_response, asks_claude=True),
    Route("POST", "/v1/responses/*/cancel", cancel_response),
    Route("GET", "/v1/responses/*/input_items", list_input_items),
    Route("POST", "/v1/conversations", conversations.create_conversation),
    Route("GET", "/v1/conversations/*", conversations.get_conversation),
    Route("POST", "/v1/conversations/*", conversations.update_conversation),
    Route("DELETE", "/v1/conversations/*", conversations.delete_conversation),
    Route("GET", "/v1/conversations/*/items", conversations.list_items),
    Route("POST", "/v1/conversations/*/items", conversations.add_items),
    Route("GET", "/v1/conversations/*/items/*", conversations.get_item),
    Route("DELETE", "/v1/conversations/*/items/*", conversations.delete_item),
    Route("GET", "/v1/sessions", sessions.list_sessions),
    Route("GET", "/v1/sessions/stats", sessions.get_totals),
    Route("GET", "/v1/sessions/*", sessions.get_session),
    Route("DELETE", "/v1/sessions/*", sessions.delete_session),
    Route("GET", "/v1/auth/status", get_auth_status),
    Route("POST", "/v1/traces/ingest", take_traces),
    Route("GET", "/health", get_health, for_everybody=True),
    Route("GET", STATUS_PATH, get_status),
    Route("POST", RECORD_PATH, switch_recording),
)

ROUTES: tuple[Route, ...] = (Route("GET", "/v1", endpoint_list(_ENDPOINTS)), *_ENDPOINTS)
