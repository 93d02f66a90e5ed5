"""`understudy rehearsal`: runs only the simulated Anthropic API, on loopback."""

from typing import Annotated

import typer

from addons.doors import Door
from cli.log import log_to_stderr
from cli.run_to_end import run_to_end
from rehearsal.server import serve_forever


def rehearsal(
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="The port to listen on. 0 means any free port.")
    ] = 0,
    delay: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="The pause before each piece of an answer.")
    ] = 0.02,
) -> None:
    """Run only the simulated Anthropic API, on this machine. The first line of output is its address."""
    log_to_stderr("info")
    raise typer.Exit(run_to_end(rehearse(port, delay)))


async def rehearse(port: int, delay_s: float) -> int:
    """Run the simulated API until the program is stopped."""
    Door("--port", "127.0.0.1", port).check()
    await serve_forever(port=port, delay_s=delay_s, ready=lambda base_url: print(base_url, flush=True))
    return 0
