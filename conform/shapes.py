"""Chooses the schema of the document for an answer, and compares bodies and events with it."""

from collections.abc import Iterator

from conform.document import Document, Walk
from conform.exchange import NOT_JSON, Exchange

STREAMS = {
    "chat": "CreateChatCompletionStreamResponse",
    "completions": "CreateCompletionResponse",
    "responses": "ResponseStreamEvent",
}
WHOLE = {
    "chat": "CreateChatCompletionResponse",
    "completions": "CreateCompletionResponse",
    "responses": "Response",
    "models": "Model",
}


def walks(exchange: Exchange, document: Document) -> Iterator[Walk]:
    """Yield a walk for the body, or for each event of a stream. Other checks report text that is not JSON."""
    if not exchange.is_stream:
        if exchange.body is not NOT_JSON:
            yield document.walk(whole(exchange), exchange.body)
        return
    for n, event in enumerate(exchange.events):
        if event.value is NOT_JSON:
            continue
        root = STREAMS[exchange.dialect]
        if "error" in event.fields and exchange.dialect != "responses":
            root = "ErrorResponse"
        yield document.walk(root, event.value, f"event {n} $")


def whole(exchange: Exchange) -> str:
    """Return the schema of a body."""
    if exchange.is_error:
        return "ErrorResponse"
    if exchange.dialect == "models" and isinstance(exchange.body, dict) and exchange.body.get("object") == "list":
        return "ListModelsResponse"
    return WHOLE[exchange.dialect]
