"""Runs the rehearsal alone: `python -m rehearsal --port 0 --delay 0.02` prints its base URL."""

import argparse
import asyncio
import contextlib
import logging

from rehearsal.server import serve_forever


def main() -> None:
    """Parse the command line and serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal", description="A simulated Anthropic Messages API.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: one that is free")
    parser.add_argument("--delay", type=float, default=0.02, help="seconds before each piece of an answer")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve_forever(host=options.host, port=options.port, delay_s=options.delay, ready=_announce))


def _announce(base_url: str) -> None:
    print(base_url, flush=True)


if __name__ == "__main__":
    main()
