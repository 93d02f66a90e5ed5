"""The command's status says whether a bench has found a fault."""

import sys
from pathlib import Path

import pytest

from bench import __main__ as command


@pytest.mark.parametrize(("faults", "status"), [(["1 orphans"], 1), ([], None)])
def test_a_fault_ends_the_command_with_1(
    faults: list[str], status: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[int] = []

    def run(minutes: int) -> dict[str, list[str]]:
        asked.append(minutes)
        return {"faults": faults}

    monkeypatch.setitem(command.BENCHES, "chaos", (run, 10))
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["bench", "chaos", "--minutes", "3"])
    if status is None:
        command.main()
    else:
        with pytest.raises(SystemExit) as ended:
            command.main()
        assert ended.value.code == status
    assert asked == [3]
    assert len(list(tmp_path.iterdir())) == 1
