"""Memory is read from the kernel's own table."""

import os
from pathlib import Path

import pytest

from engine.memory import machine_bytes, pss_bytes, total_pss_bytes

ROLLUP = "5500000-7ff0000 ---p 00000000 00:00 0    [rollup]\nRss:    2048 kB\nPss:    1024 kB\nPss_Dirty: 7 kB\n"


def table(tmp_path: Path, **rollups: str) -> Path:
    for pid, text in rollups.items():
        (tmp_path / pid[1:]).mkdir()
        (tmp_path / pid[1:] / "smaps_rollup").write_text(text, encoding="ascii")
    return tmp_path


def test_the_proportional_size_is_read(tmp_path: Path) -> None:
    assert pss_bytes(7, table(tmp_path, _7=ROLLUP)) == 1024 * 1024


def test_a_process_that_is_gone_has_none(tmp_path: Path) -> None:
    assert pss_bytes(7, tmp_path) is None


def test_the_sum_is_of_those_that_can_be_read(tmp_path: Path) -> None:
    proc = table(tmp_path, _7=ROLLUP, _8=ROLLUP, _9="")

    assert total_pss_bytes([7, 8, 9, 10], proc) == 2 * 1024 * 1024
    assert total_pss_bytes([9, 10], proc) is None


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="this system does not tell a process's PSS")
def test_this_process_takes_less_than_the_machine_has() -> None:
    used, there_is = pss_bytes(os.getpid()), machine_bytes()

    assert used is not None and there_is is not None
    assert 0 < used < there_is
