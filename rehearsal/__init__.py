"""A simulated Anthropic Messages API on loopback, so that the real Claude SDK and CLI run without an account.

No model is asked, and the answers say so. The simulation has the API's behaviour: the events and their order, stop
reasons, errors, consistent token counts, a prompt cache, and tool calls with valid arguments.

Glossary:

- rehearsal: the server (`Rehearsal`). It checks a request as the API would, answers, and keeps what it received.
- reply: what to answer one request with (`Reply`): content, stop reason, error, fault, pace.
- directive: a reply asked for by the prompt itself: `[rehearse: stop=refusal]` (see docs/rehearsal.md).
- score: a reply worked out for one request: the exact bytes in steps, or one JSON body.
- delta: one token of the answer; pace, gates, faults and max_tokens all count deltas.
- gate: something to wait for before delta k is sent.
- fault: a defect of the stream, after k deltas.
"""

from rehearsal.reply import AT_HEAD, AT_START, Fault, FaultKind, Gate, Reply, ToolCall
from rehearsal.server import ReceivedRequest, Rehearsal, hidden, serve_forever

__all__ = [
    "AT_HEAD",
    "AT_START",
    "Fault",
    "FaultKind",
    "Gate",
    "ReceivedRequest",
    "Rehearsal",
    "Reply",
    "ToolCall",
    "hidden",
    "serve_forever",
]
