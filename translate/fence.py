"""Removes a Markdown code fence from a streamed text.

A model that is asked for a JSON object may write it between ```` ```json ```` and ```` ``` ````, which no JSON parser
accepts. Only a fence around the whole text is removed. Other text passes unchanged and at once. Held back are only the
beginning, until it is known whether it is a fence, and white space and backticks at the end.
"""

FENCE = "```"


class FenceStripper:
    """Feed it text in pieces, and take the text without the fence. ``finish`` returns the rest."""

    def __init__(self) -> None:
        self._held = ""
        self._begun = False
        self._fenced = False

    def feed(self, text: str) -> str:
        """Return the text that is certain."""
        self._held += text
        if not self._begun and not self._begin():
            return ""
        if not self._fenced:
            ready, self._held = self._held, ""
            return ready
        ready = self._held.rstrip("` \t\r\n")
        self._held = self._held[len(ready) :]
        return ready

    def finish(self) -> str:
        """Return the rest of the text without the closing fence."""
        left, self._held = self._held, ""
        return "" if self._fenced and FENCE in left else left

    def _begin(self) -> bool:
        """Return whether it is known if the text begins with a fence."""
        start = self._held.lstrip()
        if FENCE.startswith(start[:3]) and len(start) < len(FENCE):
            return False
        if start.startswith(FENCE):
            _, newline, rest = start.partition("\n")
            if not newline:
                return False
            self._fenced, self._held = True, rest
        self._begun = True
        return True
