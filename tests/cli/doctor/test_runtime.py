import pytest

from cli.doctor.runtime import Watcher

HOSTS = ("api.openai.com",)


@pytest.mark.parametrize(
    ("seen", "status", "level", "told"),
    [
        (Watcher(HOSTS, connected=["api.openai.com"], asked=["POST /v1/x"]), 1, "ok", "the first POST /v1/x"),
        (Watcher(HOSTS, connected=["api.openai.com"], distrusted={"api.openai.com": "unknown ca"}), 1, "fault", "ca"),
        (Watcher(HOSTS, connected=["api.openai.com"]), 0, "fault", "sent nothing through it"),
        (Watcher(HOSTS, connected=["example.com"]), 0, "warning", "asked only for example.com"),
        (Watcher(HOSTS, connected=["example.com"], distrusted={"example.com": "x"}), 0, "warning", "only for"),
        (Watcher(HOSTS), 0, "warning", "it sent nothing to the proxy"),
        (Watcher(HOSTS), 1, "warning", "ended with status 1 before it sent a request; see its own error above"),
        (Watcher(HOSTS), 127, "fault", "could not be run"),
    ],
)
def test_the_finding_describes_how_the_program_connected(seen: Watcher, status: int, level: str, told: str) -> None:
    (finding,) = seen.findings(["app", "x"], status)
    assert (finding.name, finding.level) == ("app", level)
    assert told in finding.seen
    assert bool(finding.todo) == (level != "ok")
