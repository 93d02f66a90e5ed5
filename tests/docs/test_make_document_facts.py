"""The facts of OpenAI's document are what the script makes of it."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from conform.document import FACTS, document
from tests.corpus import CORPUS, NO_CORPUS

DOCS = Path(__file__).parents[2] / "docs"
SOURCE = CORPUS / "openai-openapi.yaml"


def test_all_of_a_shape_is_kept_and_no_text() -> None:
    script = runpy.run_path(str(DOCS / "make_document_facts.py"))
    schemas: dict[str, Any] = {name: {"type": "object"} for name in script["ROOTS"]}
    schemas["Model"] = {
        "description": "A long text.",
        "allOf": [{"$ref": "#/Base"}, {"properties": {"kind": {"enum": ["a", "b"], "nullable": True}}}],
        "required": ["kind"],
    }
    schemas["Base"] = {
        "properties": {
            "id": {"type": "string"},
            "parts": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": ["integer", "null"]}}}},
        },
        "required": ["id"],
    }

    table = script["facts"]({"info": {"version": "1"}, "components": {"schemas": schemas}}, "0" * 40, "2026-01-01")

    assert table["types"]["Model"] == "@Model"
    assert table["shapes"] == {
        "Model": {
            "required": ["id", "kind"],
            "keys": {
                "id": "string",
                "parts": {"list": "@Model.parts"},
                "kind": {"any of": ["null", {"enum": ["a", "b"]}]},
            },
        },
        "Model.parts": {"required": [], "keys": {"n": {"any of": ["integer", "null"]}}},
    }


@pytest.mark.skipif(not SOURCE.is_file(), reason=NO_CORPUS)
def test_the_table_is_what_the_script_makes() -> None:
    script = runpy.run_path(str(DOCS / "make_document_facts.py"))
    kept = (FACTS / "document.json").read_text(encoding="utf-8")
    source = yaml.load(SOURCE.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))

    made = script["text"](script["facts"](source, document().commit, document().date))

    assert kept == made, "run docs/make_document_facts.py"
