"""A long history as a file with which Claude Code starts.

To send a message through a pipe takes a few milliseconds, whatever its length. To start with a file takes a third of a
second, for any number of messages (facts F80, F83). The format of the file is Claude Code's own and undocumented. It
has one JSON object in each line, and each line names the line before. The file holds a conversation. So only its owner
can read it, and it is deleted as soon as the program has read it.
"""

import contextlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.conversation import Held, is_prompt
from engine.messages import said, user
from translate.turn import Message

# Claude does not use the time. A fixed time makes the file the same for the same history.
TIMESTAMP = "2000-01-01T00:00:00.000Z"


@dataclass(frozen=True, slots=True)
class Transcript:
    """A history in Claude Code's format, and the messages that a process holds after reading it."""

    session: str
    lines: str
    held: tuple[Held, ...]

    def write(self, folder: Path) -> Path:
        """Write the file into a project's folder, readable for its owner only. Raises OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{self.session}.jsonl"
        path.touch(mode=0o600)
        path.write_text(self.lines, encoding="utf-8")
        return path


def remove(path: Path) -> None:
    """Delete the file of a transcript."""
    with contextlib.suppress(OSError):
        path.unlink()


def resumable(messages: Sequence[Message]) -> int:
    """Return how many of the messages a transcript can hold.

    It must end after an assistant message without tool calls. Claude Code would answer open tool calls by itself (fact
    F84).
    """
    count = len(messages) - 1
    while count and not (
        messages[count - 1].role == "assistant"
        and not any(block["type"] == "tool_use" for block in messages[count - 1].content)
    ):
        count -= 1
    return count


def transcript(messages: Sequence[Message], digests: Sequence[bytes], model: str) -> Transcript:
    """Return messages as the transcript of an earlier session."""
    session = str(uuid.uuid4())
    lines: list[str] = []
    held: list[Held] = []
    before: str | None = None
    for message, identity in zip(messages, digests, strict=True):
        name = str(uuid.uuid4())
        lines.append(json.dumps(_entry(message, name, before, session, model)))
        held.append(Held(identity, name if is_prompt(message) else None))
        before = name
    return Transcript(session, "\n".join(lines) + "\n", tuple(held))


def _entry(message: Message, name: str, before: str | None, session: str, model: str) -> dict[str, Any]:
    content = said(message, model, signed=True) if message.role == "assistant" else user(message)
    return {
        "type": message.role,
        "uuid": name,
        "parentUuid": before,
        "sessionId": session,
        "timestamp": TIMESTAMP,
        "isSidechain": False,
        "message": content,
    }
