"""Takes a Markdown code fence off a text that streams by.

Asked for a JSON object, models now and then write it between ```` ```json ```` and ```` ``` ````, which no JSON parser
reads. Only a fence around the whole text is taken off; anything else passes as it is, and at once: what is held back is
the beginning until it is clear whether it is a fence, and then no more than white space and backticks at the end.
"""

FENCE = "```"


class FenceStripper:
    """Feed it text piece by piece, take what is ready; ``finish`` gives what was held back."""

    def __init__(self) -> None:
        self._held = ""
        self._begun = False
        self._fenced = False

    def feed(self, text: str) -> str:
        """Return what can be passed on."""
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
        """Return what is left at the text's end, less the closing fence."""
        left, self._held = self._held, ""
        return "" if self._fenced and FENCE in left else left

    def _begin(self) -> bool:
        """Find out whether the text begins with a fence; False while that is open."""
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
