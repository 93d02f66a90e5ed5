"""A test that hangs fails, and its report tells where every thread and every task was."""

import pytest

pytest_plugins = ["pytester"]

SUITE = """
import asyncio
import threading

async def wait_for_nothing():
    await asyncio.Event().wait()

def test_that_hangs():
    def stay():
        ended.wait()

    async def main():
        await asyncio.gather(asyncio.create_task(wait_for_nothing(), name="the task that waits"))

    ended = threading.Event()
    thread = threading.Thread(target=stay, name="the thread that waits")
    thread.start()
    try:
        asyncio.run(main())
    finally:
        ended.set()
        thread.join()

def test_that_comes_after():
    pass
"""


def test_a_hanging_test_fails_with_the_stacks_of_threads_and_tasks(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)

    result = pytester.runpytest_subprocess(
        "-p", "tests.plugins.time_limit", "--timeout=1", "-n0", "-p", "no:cacheprovider"
    )

    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines_random(
        [
            "*the test took more than 1 s*",
            "the thread that waits",
            "*in stay",
            "the task that waits",
            "*in wait_for_nothing",
        ]
    )
