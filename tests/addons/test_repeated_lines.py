"""A line that comes very often is logged once, and then counted."""

import asyncio
import logging

import pytest

from addons.repeated_lines import RepeatedLines

pytestmark = pytest.mark.anyio

log = logging.getLogger("tests.repeated_lines")


async def test_the_first_line_is_logged_at_once_and_the_others_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    lines = RepeatedLines(log, each_s=3600)

    for _ in range(100):
        lines.log(logging.WARNING, "closed")
    lines.log(logging.WARNING, "refused")

    assert caplog.messages == ["closed", "refused"]
    lines.flush()
    assert caplog.messages == ["closed", "refused", "closed (99 more)"]


async def test_the_count_is_logged_after_a_while_and_then_the_next_line_again(caplog: pytest.LogCaptureFixture) -> None:
    lines = RepeatedLines(log, each_s=0)
    for _ in range(3):
        lines.log(logging.WARNING, "closed")

    # The count is logged in the first round. Then nothing more has come, so the next line is a first one.
    for _ in range(10):
        await asyncio.sleep(0)
    lines.log(logging.WARNING, "closed")

    assert caplog.messages == ["closed", "closed (2 more)", "closed"]
