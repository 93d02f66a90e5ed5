"""The text inside ``{"input": "…"}`` while that JSON is still being written.

A custom tool's input is text to the app and one JSON string to Claude, whose pieces end anywhere: in the middle of an
escape, or between the halves of a surrogate pair. What is not whole waits for the next piece.
"""

import json
import re

from translate.responses.offered import FIELD

_OPENING = re.compile(rf'\s*\{{\s*"{FIELD}"\s*:\s*"')
# One character of a JSON string: as it is, or as an escape, the two of a pair together.
_PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_WHOLE = re.compile(rf'(?:{_PAIR}|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{{4}}|\\["\\/bfnrt]|[^"\\])*')


class FreeText:
    """Feed it the JSON in pieces, take the text in pieces; ``text`` is what it has given so far."""

    def __init__(self) -> None:
        self._json: list[str] = []
        self._given: list[str] = []
        self._held = ""
        self._inside = False

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._given)

    def feed(self, piece: str) -> str:
        """Return the text that is whole with this piece."""
        self._json.append(piece)
        self._held += piece
        if not self._inside:
            opening = _OPENING.match(self._held)
            if opening is None:
                return ""
            self._inside, self._held = True, self._held[opening.end() :]
        whole = _WHOLE.match(self._held)
        end = whole.end() if whole else 0
        text, self._held = self._held[:end], self._held[end:]
        return self._give(json.loads(f'"{text}"', strict=False))

    def finish(self) -> str:
        """Return what is left of the text when no piece will come.

        JSON that is not of that form is the text itself: an app gets all that Claude wrote.
        """
        everything = "".join(self._json)
        try:
            value = json.loads(everything, strict=False)
        except ValueError:
            # Cut short. What was given is the beginning; without it there is nothing but the JSON.
            return "" if self._inside else self._give(everything)
        text = value.get(FIELD) if isinstance(value, dict) else None
        text = text if isinstance(text, str) else everything
        # Half a pair has no encoding.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return self._give(text[len(self.text) :]) if text.startswith(self.text) else ""

    def _give(self, text: str) -> str:
        self._given.append(text)
        return text
