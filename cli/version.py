"""`understudy --version`: the versions of Understudy and of the programs that it uses."""

import importlib.metadata
import json
import platform
from typing import Annotated

import typer

from cli.own_version import own_version


def understudy(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the versions and exit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --version: print JSON.")] = False,
) -> None:
    """Run unchanged programs that use the OpenAI API. Claude answers them, through Claude Code."""
    if version:
        found = versions()
        print(json.dumps(found, indent=2) if as_json else told(found))
        raise typer.Exit
    if as_json:
        # Imported here: it imports the settings, which the help does not need.
        from cli.fatal import fatal

        raise fatal("--json can only be used after a command, or with --version.")
    if context.invoked_subcommand is None:
        print(context.get_help())


def versions() -> dict[str, str]:
    """Return the versions of Understudy, of the Claude Code in the SDK, of the SDK, mitmproxy and Python."""
    # Imported here: the help does not need it.
    from engine.spawn import VERIFIED_CLI

    return {
        "understudy": own_version(),
        "claude_code": VERIFIED_CLI,
        "claude_agent_sdk": importlib.metadata.version("claude-agent-sdk"),
        "mitmproxy": importlib.metadata.version("mitmproxy"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def told(found: dict[str, str]) -> str:
    """Write the versions in two lines."""
    return (
        f"understudy {found['understudy']}\n"
        f"Claude Code {found['claude_code']}, claude-agent-sdk {found['claude_agent_sdk']}, "
        f"mitmproxy {found['mitmproxy']}, Python {found['python']}, {found['platform']}"
    )
