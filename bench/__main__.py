"""`uv run python -m bench [first_token|translate] [--rounds N]`."""

import argparse
import asyncio
import dataclasses
import json
import platform
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import first_token, translate

RESULTS = Path(__file__).with_name("results")
console = Console()


def run_first_token(rounds: int) -> dict[str, Any]:
    """Measure, print and return what goes into the JSON."""
    timings = asyncio.run(first_token.measure(rounds))
    table = Table("", "first token, ms", "p10 to p90", "total, ms", "pieces", title=f"first_token, {rounds} rounds")
    for name, first, total, pieces in first_token.rows(timings):
        spread = f"{first.p10 * 1000:.0f} to {first.p90 * 1000:.0f}"
        table.add_row(name, f"{first.median * 1000:.0f}", spread, f"{total.median * 1000:.0f}", f"{pieces:.0f}")
    console.print(table)
    ratios = first_token.ratios(timings)
    for name, ratio in ratios.items():
        console.print(f"{name}: {ratio:.2f}")
    return {
        "timings": {name: [dataclasses.asdict(timing) for timing in them] for name, them in timings.items()},
        "ratios": ratios,
    }


def run_translate(rounds: int) -> dict[str, Any]:
    """Measure, print and return what goes into the JSON."""
    summaries = translate.measure(rounds)
    table = Table("", "median", "p10 to p90", title=f"translate, {rounds} rounds")
    for name, summary in summaries.items():
        table.add_row(name, f"{summary.median:.2f}", f"{summary.p10:.2f} to {summary.p90:.2f}")
    console.print(table)
    return {name: dataclasses.asdict(summary) for name, summary in summaries.items()}


BENCHES = {"first_token": (run_first_token, 15), "translate": (run_translate, 50)}


def main() -> None:
    """Run the benches that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("bench", nargs="*", choices=[[], *BENCHES])
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    results = {}
    for name in options.bench or BENCHES:
        run, rounds = BENCHES[name]
        results[name] = run(options.rounds or rounds)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    machine = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    path.write_text(json.dumps({"machine": machine, **results}, indent=1), encoding="utf-8")
    console.print(
        f"written to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}", style="dim"
    )


if __name__ == "__main__":
    main()
