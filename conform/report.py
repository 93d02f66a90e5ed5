"""Shows the findings as tables and as JSON."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

from conform.ask import Server, Verdict
from conform.document import Document
from conform.wire import Wire


def tables(verdict: Verdict, safe: Callable[[str], str]) -> Iterator[Table]:
    """Yield a table of the requests, and one of the findings if there are any. ``safe`` makes text safe to print."""
    requests = Table("request", "findings", title="Requests", title_justify="left")
    for name, found in verdict.findings.items():
        requests.add_row(name, str(len(found)))
    for name, reason in verdict.skipped.items():
        requests.add_row(name, f"not checked: {reason}")
    yield requests
    if verdict.count:
        findings = Table("request", "check", "place", "what came", "what the real API has", show_lines=True)
        for one in (one for found in verdict.findings.values() for one in found):
            cells = (one.request, one.check, one.place, one.came, one.wanted)
            findings.add_row(*(Text(safe(cell), overflow="fold") for cell in cells))
        yield findings


def summary(verdict: Verdict, document: Document, wire: Wire) -> str:
    """Return the last line."""
    held = f"held to {document.title} and {wire.title}"
    return f"{_counted(verdict.count, 'finding')} in {_counted(len(verdict.findings), 'request')}, {held}"


def as_json(verdict: Verdict, server: Server, document: Document, wire: Wire) -> str:
    """Return the whole report as JSON."""
    findings: list[dict[str, str]] = [
        {"request": one.request, "check": one.check, "place": one.place, "came": one.came, "wanted": one.wanted}
        for found in verdict.findings.values()
        for one in found
    ]
    told: dict[str, Any] = {
        "url": server.base_url,
        "model": server.model,
        "document": document.title,
        "wire": wire.title,
        "requests": {name: len(found) for name, found in verdict.findings.items()},
        "not_checked": verdict.skipped,
        "findings": findings,
    }
    return json.dumps(told, indent=1, ensure_ascii=False)


def _counted(count: int, word: str) -> str:
    return f"{count or 'no'} {word}{'' if count == 1 else 's'}"


def as_table(wire: Wire) -> str:
    """Return the table of keys as JSON, with one key in each line."""
    parts = []
    for name, entry in sorted(wire.table["situations"].items()):
        keys = ",\n".join(f"    {json.dumps(key)}: {_sorted(fact)}" for key, fact in sorted(entry["keys"].items()))
        head = f'  {json.dumps(name)}: {{\n   "recordings": {_sorted(entry["recordings"])}'
        parts.append(f'{head},\n   "keys": {{\n{keys}\n   }}\n  }}')
    recordings = _sorted(wire.table["recordings"])
    return f'{{\n "recordings": {recordings},\n "situations": {{\n' + ",\n".join(parts) + "\n }\n}\n"


def _sorted(value: object) -> str:
    return json.dumps(value, sort_keys=True)
