"""What was overheard, side by side."""

import json

from cli.demo.wiretap import Overheard, rows


def data(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"


def test_each_event_stands_beside_what_it_became() -> None:
    heard = Overheard(began=1.0)
    heard.events = [
        (1.1, {"type": "message_start", "message": {"model": "claude-x"}}),
        (1.2, {"type": "content_block_start", "index": 0}),
        (1.3, {"type": "content_block_delta", "delta": {"text": "a"}}),
        (1.4, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}),
    ]
    heard.chunks = [(1.1, data("")), (1.3, data("a") + data("end")), (1.4, b"data: [DONE]\n\n")]

    table = [(round(at), event.partition(" ")[0], len(lines)) for at, event, lines in rows(heard)]
    assert table == [
        (100, "message_start", 1),
        (200, "content_block_start", 0),
        (300, "content_block_delta", 1),
        (400, "message_delta", 2),
    ]
