"""The recordings of the real API that the tests know, as exchanges. They are not part of the project."""

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from conform.exchange import Exchange

CORPUS = Path(os.environ.get("UNDERSTUDY_CORPUS", Path(__file__).parents[2] / "shared" / "corpus"))
NO_CORPUS = f"there is no corpus at {CORPUS}; UNDERSTUDY_CORPUS names another place"


def recordings(folder: Path = CORPUS) -> Iterator[tuple[Path, Exchange]]:
    """Yield what was recorded of OpenAI, with its file. Examples that were written by hand are left out."""
    for path in sorted(folder.glob("openai.*/*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["kind"] == "recorded":
            yield path, exchange_of(found, path.stem)


def exchange_of(found: dict[str, Any], name: str) -> Exchange:
    """Return a file of the corpus as an exchange. Its day is in the answer."""
    request, response = found.get("request") or {}, found["response"]
    text = response.get("sse") or json.dumps(response.get("body"))
    created = re.search(r'"created(?:_at)?": ?(\d{10})', text)
    dialect: Any = found["api"].removeprefix("openai.")
    dated = created is not None and dialect != "models"  # a model's day is that of the model
    return Exchange(
        name=name,
        dialect=dialect,
        method=request.get("method", "POST"),
        path=request.get("path", ""),
        request=request.get("body"),
        status=response["status"],
        headers={key.lower(): value for key, value in response["headers"].items()},
        text=text,
        date=datetime.fromtimestamp(int(created[1]), UTC).date().isoformat() if created and dated else None,
    )
