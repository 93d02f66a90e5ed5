"""The real CLI, with an environment of its own, against the rehearsal."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.sdk import Spawn
from rehearsal.server import Rehearsal


@pytest.fixture
async def rehearsal() -> AsyncIterator[Rehearsal]:
    async with Rehearsal(delay_s=0) as rehearsal:
        yield rehearsal


@pytest.fixture
def spawn(rehearsal: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spawn:
    """How to start a process: nothing of this machine's environment reaches it but the PATH."""
    for name in list(os.environ):
        if name not in ("PATH", "PYTEST_CURRENT_TEST"):
            monkeypatch.delenv(name)
    folders = {name: tmp_path / name for name in ("home", "config", "empty")}
    for folder in folders.values():
        folder.mkdir()
    env = {
        "HOME": str(folders["home"]),
        "CLAUDE_CONFIG_DIR": str(folders["config"]),
        "ANTHROPIC_BASE_URL": rehearsal.base_url,
        "ANTHROPIC_API_KEY": "sk-ant-not-a-key",
    }
    return Spawn(cwd=folders["empty"], env=env)
