"""A long history as a file that Claude Code begins with.

Putting a message in through a pipe takes a few milliseconds, whatever its length; a file with all of them takes the
same third of a second however many there are (facts F80, F83). The form of the file is Claude Code's own and
undocumented: one JSON object a line, each naming the one before. It holds a conversation, so only we may read it, and
it is gone as soon as the program has read it.
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

# The time of writing says nothing to Claude, and a fixed one keeps the file the same for the same history.
TIMESTAMP = "2000-01-01T00:00:00.000Z"


@dataclass(frozen=True, slots=True)
class Transcript:
    """A history in Claude Code's form, and what a process that begins with it holds."""

    session: str
    lines: str
    held: tuple[Held, ...]

    def write(self, folder: Path) -> Path:
        """Write the file into a project's folder, for its owner only. Raises OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{self.session}.jsonl"
        path.touch(mode=0o600)
        path.write_text(self.lines, encoding="utf-8")
        return path


def remove(path: Path) -> None:
    """Delete a transcript that has been read."""
    with contextlib.suppress(OSError):
        path.unlink()


def resumable(messages: Sequence[Message]) -> int:
    """Return how many of the messages a transcript can hold.

    It cannot end amid a tool loop, which Claude Code would close by itself (fact F84): only after an answer in words.
    """
    count = len(messages) - 1
    while count and not (
        messages[count - 1].role == "assistant"
        and not any(block["type"] == "tool_use" for block in messages[count - 1].content)
    ):
        count -= 1
    return count


def transcript(messages: Sequence[Message], digests: Sequence[bytes], model: str) -> Transcript:
    """Write messages down as a session that has been."""
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
