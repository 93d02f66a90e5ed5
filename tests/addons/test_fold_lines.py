"""Lines that repeat are folded, and no other."""

import logging

import pytest

from addons.fold_lines import SHOWN, WINDOW_S, FoldLines


class Kept(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.fold = FoldLines(self, clock=lambda: self.now)
        self.addFilter(self.fold)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def log(kept: Kept) -> logging.Logger:
    logger = logging.Logger("a log", logging.DEBUG)
    logger.addHandler(kept)
    return logger


def test_a_warning_that_repeats_is_counted_and_told_later(kept: Kept, log: logging.Logger) -> None:
    for number in range(5000):
        log.warning("no room for %d", number)
    kept.now = WINDOW_S
    kept.fold.tell()

    assert kept.lines[:SHOWN] == [f"no room for {number}" for number in range(SHOWN)]
    assert kept.lines[SHOWN:] == ["… 4,980 more like this in the last 10 s: no room for 4999"]


def test_the_count_of_repeated_lines_comes_before_the_next_line(kept: Kept, log: logging.Logger) -> None:
    for number in range(100):
        kept.now = 0.0 if number < 99 else WINDOW_S
        log.error("again")

    assert kept.lines[SHOWN:] == ["… 79 more like this in the last 10 s: again", "again"]


def test_other_lines_pass_meanwhile(kept: Kept, log: logging.Logger) -> None:
    for _ in range(100):
        log.warning("again")
    log.warning("something else")
    for number in range(100):
        log.info("an answer %d", number)

    assert kept.lines[SHOWN:] == ["something else", *(f"an answer {number}" for number in range(100))]


def test_lines_that_say_what_they_are_like_are_folded_too(kept: Kept, log: logging.Logger) -> None:
    for number in range(100):
        log.info("POST /%d 401", number, extra={"folds": "refused 401"})
    kept.fold.tell(all_of_them=True)

    assert len(kept.lines) == SHOWN + 1


def test_a_folded_line_passes_the_other_filters(kept: Kept, log: logging.Logger) -> None:
    class Mask(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            record.msg = str(record.msg).replace("secret", "…")
            return True

    kept.addFilter(Mask())
    for _ in range(100):
        log.warning("a secret")
    kept.fold.tell(all_of_them=True)

    assert not any("secret" in line for line in kept.lines)
