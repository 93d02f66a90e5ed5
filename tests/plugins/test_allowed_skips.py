"""A skip for an unlisted reason fails the run, with workers and without."""

import pytest

pytest_plugins = ["pytester"]

SUITE = """
import pytest

def test_that_runs():
    pass

@pytest.mark.parametrize("reason", ["the moon is not installed", "there is no sun here"])
def test_that_is_skipped(reason):
    pytest.skip(reason)
"""


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(
    ("allowed", "status", "missing"),
    [
        ("# not everybody has one\n* is not installed\n\nthere is no sun here\n", pytest.ExitCode.OK, None),
        ("the moon is not installed\n", pytest.ExitCode.TESTS_FAILED, "there is no sun here"),
    ],
)
def test_skips_must_be_listed(
    pytester: pytest.Pytester, workers: str, allowed: str, status: int, missing: str | None
) -> None:
    pytester.makepyfile(SUITE)
    listed = pytester.makefile(".txt", allowed)

    result = pytester.runpytest_inprocess(
        "-p", "tests.plugins.allowed_skips", f"--allowed-skips={listed}", f"-n{workers}", "-p", "no:cacheprovider"
    )

    assert result.ret == status
    result.stdout.fnmatch_lines_random(["1 skipped: the moon is not installed", "1 skipped: there is no sun here"])
    failures = [line for line in result.outlines if line.startswith("FAILED: this is no allowed reason")]
    assert [line.rpartition(": ")[2] for line in failures] == ([missing] if missing else [])
