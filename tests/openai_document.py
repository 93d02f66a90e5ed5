"""Checks answers against OpenAI's own OpenAPI document, where that is available (UNDERSTUDY_CORPUS)."""

import importlib.util
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

CORPUS = Path(os.environ.get("UNDERSTUDY_CORPUS") or Path(__file__).parents[2] / "shared" / "corpus")
DOCUMENT = CORPUS / "openai-openapi.yaml"


@cache
def _validator() -> Any:
    spec = importlib.util.spec_from_file_location("validate_openai", CORPUS / "validate_openai.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Validator(str(DOCUMENT))


def problems(schema: str, body: Any) -> list[str]:
    """Return what is wrong with a body by a schema of the document. Skips the test if there is no document."""
    if not DOCUMENT.exists():
        pytest.skip(f"OpenAI's OpenAPI document is not at {DOCUMENT}")
    return list(_validator().body(schema, body))
