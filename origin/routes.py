"""What is answered: the table of routes."""

from origin.app import Route
from origin.chat_completions import create_chat_completion
from origin.models import get_model, list_models
from origin.responses import create_response, delete_response, get_response
from origin.status import RECORD_PATH, STATUS_PATH, get_status, switch_recording

ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/chat/completions", create_chat_completion, asks_claude=True),
    Route("GET", "/v1/models", list_models),
    Route("GET", "/v1/models/*", get_model),
    Route("POST", "/v1/responses", create_response, asks_claude=True),
    Route("GET", "/v1/responses/*", get_response),
    Route("DELETE", "/v1/responses/*", delete_response),
    Route("GET", STATUS_PATH, get_status),
    Route("POST", RECORD_PATH, switch_recording),
)
