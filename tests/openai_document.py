"""OpenAI's OpenAPI document, from the corpus. Its YAML takes seconds to read, so what was read is kept for later."""

import functools
import hashlib
import importlib.util
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CORPUS = Path(os.environ.get("UNDERSTUDY_CORPUS") or ROOT.parent / "shared" / "corpus")
DOCUMENT = CORPUS / "openai-openapi.yaml"
VALIDATE = CORPUS / "validate_openai.py"


@functools.cache
def document() -> dict[str, Any]:
    """Return the document. Nobody may change it."""

    def read() -> dict[str, Any]:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return dict(yaml.load(DOCUMENT.read_text(encoding="utf-8"), loader))

    return _kept("document", [DOCUMENT], read)


@functools.cache
def validator() -> Any:
    """Return the corpus's own check against the document, with no deviation forgiven."""
    module = _module()
    spec = _kept("validator", [DOCUMENT, VALIDATE], lambda: dict(module.load_spec(str(DOCUMENT))))
    return module.Validator(spec)


def problems(schema: str, body: Any) -> list[str]:
    """Return what is wrong with a body by a schema of the document. Skips the test if there is no document."""
    if not DOCUMENT.exists():
        pytest.skip(f"OpenAI's OpenAPI document is not at {DOCUMENT}")
    return list(validator().body(schema, body))


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("validate_openai", VALIDATE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _kept(name: str, sources: list[Path], read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what was kept of these files, or read them and keep it in pytest's cache, which git ignores."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    kept = ROOT / ".pytest_cache" / "openai" / f"{name}-{digest}.pickle"
    if kept.exists():
        return dict(pickle.loads(kept.read_bytes()))
    made = read()
    kept.parent.mkdir(parents=True, exist_ok=True)
    own = kept.with_suffix(f".{os.getpid()}")
    own.write_bytes(pickle.dumps(made))
    own.replace(kept)
    return made
