"""Runs the demo and prints the traffic on both sides."""

import asyncio
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from addons.master import options_for, proxy
from auth.certificates.authority import FOLDER, Authority
from cli.compose import compose
from cli.demo.wiretap import Overheard, OverheardEngine, WireTap, rows
from launch.environment import environment_for
from launch.trust import write_trust_files
from rehearsal.server import Rehearsal
from settings import Settings

APP = Path(__file__).with_name("chat.py")
APP_BY_HTTPX = Path(__file__).with_name("chat_by_httpx.py")
"""The app for when OpenAI's client is not installed. Understudy depends on httpx, so httpx is there."""

# The number of events shown from the beginning and from the end. Those between all look the same.
SHOWN_FIRST, SHOWN_LAST = 5, 4


def has_openai() -> bool:
    """Return whether OpenAI's client is installed beside Understudy."""
    return importlib.util.find_spec("openai") is not None


async def show(settings: Settings, console: Console) -> int:
    """Run an app through the proxy and print what happened. Returns the app's exit status."""
    app = APP if has_openai() else APP_BY_HTTPX
    overheard = Overheard()
    program = compose(settings, os.environ, around=lambda engine: OverheardEngine(engine, overheard))
    ca = Authority.open(settings.data_dir / FOLDER, settings.hosts)
    with tempfile.TemporaryDirectory(prefix="understudy-", ignore_cleanup_errors=True) as directory:
        options = options_for(settings, ca.certificate.parent, os.environ)
        async with proxy(options, [*program.addons, WireTap(overheard)]) as addresses:
            trust = write_trust_files(Path(directory), ca.certificate, os.environ)
            url = f"http://{addresses[0][0]}:{addresses[0][1]}"
            env = environment_for(os.environ, proxy_url=url, trust=trust, hosts=settings.hosts)
            code = app.read_text(encoding="utf-8").partition('"""\n\n')[2]
            console.print(Panel(Syntax(code, "python"), title="an OpenAI program, unchanged", title_align="left"))
            console.print(f"[bold]$ understudy run -- python {app.name}[/]")
            status = await _run(app, env.full, console)
            console.print()
            if overheard.events:
                console.print(both_sides(overheard, program.rehearsal))
    return status


async def _run(app: Path, env: dict[str, str], console: Console) -> int:
    """Run the app, and print its output as it comes. Return its exit status."""
    process = await asyncio.create_subprocess_exec(sys.executable, str(app), env=env, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None  # noqa: S101
    # A picture needs the answer in one piece. A user at a terminal wants to see it stream.
    size = -1 if console.record else 256
    while text := await process.stdout.read(size):
        console.print(Text(text.decode(errors="replace"), style="green"), end="")
    return await process.wait()


def both_sides(overheard: Overheard, rehearsal: Rehearsal | None) -> Group:
    """Return both sides of the traffic: the two requests, and the answer event by event."""
    requests = Table("the app asked https://api.openai.com", "Claude Code asked Claude's API", expand=True)
    asked = json.loads(overheard.request.content or b"{}") if overheard.request else {}
    claude = (
        _json(shortened(rehearsal.turns[-1].body))
        if rehearsal and rehearsal.turns
        else Text("Anthropic's own API was asked; `--rehearsal` shows this side.", style="dim")
    )
    requests.add_row(_json(asked), claude)
    answer = Table("ms", "Claude's event", "what the app received", expand=True)
    answer.columns[0].justify = "right"
    answer.columns[0].no_wrap = True
    answer.columns[1].ratio = answer.columns[2].ratio = 1
    heard = rows(overheard)
    hidden = len(heard) - SHOWN_FIRST - SHOWN_LAST
    for number, (at_ms, event, lines) in enumerate(heard):
        if hidden > 0 and SHOWN_FIRST <= number < SHOWN_FIRST + hidden:
            if number == SHOWN_FIRST:
                answer.add_row("⋮", f"{hidden} more, each passed on as it came", "⋮", style="dim")
            continue
        answer.add_row(f"{at_ms:.0f}", event, Text("\n".join(_essence(line) for line in lines), overflow="ellipsis"))
    headers = overheard.response.headers if overheard.response else {}
    ours = ", ".join(f"{name}: {value}" for name, value in headers.items() if name.startswith("x-understudy"))
    return Group(requests, answer, Text(ours, style="dim"))


def shortened(body: dict[str, Any]) -> dict[str, Any]:
    """Return a request to Claude's API without ``metadata``, which identifies the device."""
    return {name: value for name, value in body.items() if name != "metadata"}


def _essence(line: str) -> str:
    """Return a ``data:`` line without the fields that every chunk repeats."""
    data = line.removeprefix("data: ")
    if data == "[DONE]":
        return line
    chunk = json.loads(data)
    kept = {name: chunk[name] for name in ("choices", "usage", "error") if chunk.get(name)}
    for choice in kept.pop("choices", []):
        kept |= {name: choice[name] for name in ("delta", "finish_reason") if choice[name]}
    return f"data: {{… {json.dumps(kept, ensure_ascii=False)[1:-1]} …}}"


def _json(value: Any) -> Syntax:
    return Syntax(pretty(value), "json", word_wrap=True, background_color="default")


def pretty(value: Any, indent: int = 0, width: int = 58) -> str:
    """Write JSON with as few lines as ``width`` allows."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) + indent <= width or not isinstance(value, (dict, list)) or not value:
        return text
    if isinstance(value, dict):
        members = [f"{json.dumps(name)}: {pretty(member, indent + 1, width)}" for name, member in value.items()]
        opening, closing = "{}"
    else:
        members = [pretty(member, indent + 1, width) for member in value]
        opening, closing = "[]"
    separator = ",\n" + " " * (indent + 1)
    return f"{opening}{separator.join(members)}{closing}"
