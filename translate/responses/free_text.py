"""Reads the text inside ``{"input": "…"}`` while that JSON is still arriving.

The app gets the input of a custom tool as text. Claude writes it as a JSON string. A piece of the JSON can end
anywhere: in the middle of an escape, or between the halves of a surrogate pair. An incomplete character waits for the
next piece.
"""

import json
import re

from translate.responses.offered import FIELD

_OPENING = re.compile(rf'\s*\{{\s*"{FIELD}"\s*:\s*"')
# Whole characters of a JSON string: plain, as an escape, or as the two escapes of a surrogate pair.
_PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_WHOLE = re.compile(rf'(?:{_PAIR}|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{{4}}|\\["\\/bfnrt]|[^"\\])*')


class FreeText:
    """Turns pieces of JSON into pieces of text. ``text`` is all text that it has returned so far."""

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
        """Return the text that is complete with this piece."""
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
        """Return the rest of the text, when no more pieces come.

        If the JSON does not have that form, it is the text itself: an app gets all that Claude wrote.
        """
        everything = "".join(self._json)
        try:
            value = json.loads(everything, strict=False)
        except ValueError:
            # The JSON is cut or invalid. Its text was returned already. If it has no such text, the JSON is the text.
            return "" if self._inside else self._give(everything)
        text = value.get(FIELD) if isinstance(value, dict) else None
        text = text if isinstance(text, str) else everything
        # A single surrogate cannot be encoded, so it is replaced.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return self._give(text[len(self.text) :]) if text.startswith(self.text) else ""

    def _give(self, text: str) -> str:
        self._given.append(text)
        return text
