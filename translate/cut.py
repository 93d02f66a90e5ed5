"""Stop sequences of white space only. Claude does not accept them, so the text is cut here."""

from collections.abc import Sequence


class Cutter:
    """Feed it text in pieces, and take the text before the first stop sequence. ``ended`` says that it was found."""

    def __init__(self, sequences: Sequence[str]) -> None:
        self._sequences = tuple(sequences)
        self._longest = max(map(len, self._sequences))
        self._held = ""
        self.ended = False

    def feed(self, text: str) -> str:
        """Return the text that is certain. Text that may be the beginning of a stop sequence is held back."""
        if self.ended:
            return ""
        text = self._held + text
        found = [place for sequence in self._sequences if (place := text.find(sequence)) >= 0]
        if found:
            self.ended = True
            return text[: min(found)]
        ends = range(min(self._longest - 1, len(text)), 0, -1)
        keep = next((n for n in ends if any(sequence.startswith(text[-n:]) for sequence in self._sequences)), 0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """Return the text that was held back. Call it after the last piece."""
        held, self._held = self._held, ""
        return "" if self.ended else held
