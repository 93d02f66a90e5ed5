"""Large modules are imported in threads, one at a time."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from engine.late_imports import import_late


def test_modules_that_import_each_other_are_imported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    # In two threads, the second waits for the first; then the first would find the second half done, without WHOLE.
    first = "import time; time.sleep(0.4)\nimport late_second\nWHOLE = late_second.WHOLE\n"
    second = "import time; time.sleep(0.2)\nimport late_first\nWHOLE = True\n"
    (tmp_path / "late_first.py").write_text(first)
    (tmp_path / "late_second.py").write_text(second)

    async def both() -> None:
        task = asyncio.create_task(import_late("late_first"))
        await asyncio.sleep(0.1)
        await import_late("late_second")
        await task

    asyncio.run(both())

    assert sys.modules["late_first"].WHOLE


def test_a_module_that_cannot_be_imported_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "late_three.py").write_text("import late_four\n")
    with pytest.raises(ModuleNotFoundError):
        asyncio.run(import_late("late_three"))

    (tmp_path / "late_four.py").write_text("")
    asyncio.run(import_late("late_three"))

    assert "late_three" in sys.modules


def test_an_mcp_servers_client_and_the_sdk_are_imported_at_once() -> None:
    code = (
        "import asyncio; from engine.late_imports import import_late\n"
        "async def both():\n"
        "    await asyncio.gather(*map(import_late, ('engine.process', 'api.mcp_client')))\n"
        "asyncio.run(both()); import api.mcp_client, engine.process; print(engine.process.ClaudeProcess.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("ClaudeProcess\n", "")
