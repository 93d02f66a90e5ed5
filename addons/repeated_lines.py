"""Log a line once if it comes very often. Each line takes time, and thousands hide everything else."""

import asyncio
import logging


class RepeatedLines:
    """Logs the first of some equal lines at once, and then how many more there were, once in ``each_s`` seconds."""

    def __init__(self, log: logging.Logger, each_s: float = 1.0) -> None:
        self._log = log
        self._each_s = each_s
        self._more: dict[tuple[int, str], int] = {}
        """How many lines were not logged, by their level and text."""

    def log(self, level: int, text: str) -> None:
        """Log a line, or count it."""
        line = level, text
        if line in self._more:
            self._more[line] += 1
            return
        self._more[line] = 0
        self._log.log(level, "%s", text)
        asyncio.get_running_loop().call_later(self._each_s, self._tell, line)

    def flush(self) -> None:
        """Log now what was counted."""
        for line in list(self._more):
            if count := self._more.pop(line):
                self._write(line, count)

    def _tell(self, line: tuple[int, str]) -> None:
        if not (count := self._more.pop(line, 0)):
            return
        self._write(line, count)
        self._more[line] = 0
        asyncio.get_running_loop().call_later(self._each_s, self._tell, line)

    def _write(self, line: tuple[int, str], count: int) -> None:
        level, text = line
        self._log.log(level, "%s (%d more)", text, count)
