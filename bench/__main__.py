"""`uv run python -m bench [first_token|responses|translate|load|recording|startup|pytest_plugin|soak|stalls|chaos]`.

`--rounds N` sets the number of rounds. `soak` and `chaos` take `--minutes N` instead. Exit status 1: `chaos` found a
fault.
"""

import argparse
import asyncio
import dataclasses
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import chaos, first_token, load, pytest_plugin, recording, responses, soak, stalls, startup, translate
from bench.api import DELTA_S, DELTAS
from bench.statistics import Summary

RESULTS = Path(__file__).with_name("results")
GROWTH = Path(__file__).parents[1] / "docs" / "bench-growth.png"
# LiteLLM's program, from its own environment: `uv tool install 'litellm[proxy]'`, or set the variable LITELLM.
LITELLM = next((Path(path) for path in [os.environ.get("LITELLM", ""), which("litellm") or ""] if path), None)
console = Console()


def run_first_token(rounds: int) -> dict[str, Any]:
    """Measure, print the tables, and return the data for the JSON file."""
    console.print(f"first_token: {rounds} rounds, about {14 * (rounds + 1)} s", style="dim")
    timings = asyncio.run(first_token.measure(rounds, LITELLM))
    rows, comparisons = first_token.rows(timings), first_token.comparisons(timings)
    title = f"first_token, ms: {rounds} rounds, {DELTAS} deltas sent {DELTA_S * 1000:g} ms apart"
    table = Table("", "first", "p10–p90", "total", "p10–p90", "pieces", "way", "p95", title=title)
    for row in rows:
        pieces = f"{row.fewest}" if row.fewest == row.most else f"{row.fewest}–{row.most}"
        first, total = (
            (f"{row.first.median:.0f}", spread(row.first, 0)),
            (f"{row.total.median:.0f}", spread(row.total, 0)),
        )
        table.add_row(row.name, *first, *total, pieces, f"{row.carried.median:.2f}", f"{row.carried.p95:.2f}")
    console.print(table)
    console.print(
        "first, total: to the first and the last piece of text; way: a delta's, from API to client", style="dim"
    )
    table = Table("", "median", "p10–p90", "p95", "aim", title="compared round by round")
    for it in comparisons:
        s = it.summary
        table.add_row(it.what, f"{s.median:.2f} {it.unit}", spread(s, 2), f"{s.p95:.2f}", aim(s.median, it.aim))
    console.print(table)
    return {
        "timings": {name: [dataclasses.asdict(timing) for timing in them] for name, them in timings.items()},
        "rows": [dataclasses.asdict(row) for row in rows],
        "comparisons": [dataclasses.asdict(comparison) for comparison in comparisons],
    }


def run_responses(rounds: int) -> dict[str, Any]:
    """Measure, print the tables, and return the data for the JSON file."""
    console.print(f"responses: {rounds} rounds, about {14 * (rounds + 1)} s", style="dim")
    timings = asyncio.run(responses.measure(rounds))
    comparisons = responses.comparisons(timings)
    table = Table("", "first", "p10–p90", "way", "p95", title=f"responses, ms: {rounds} rounds")
    for row in first_token.rows(timings):
        first, way = row.first, row.carried
        table.add_row(row.name, f"{first.median:.0f}", spread(first, 0), f"{way.median:.2f}", f"{way.p95:.2f}")
    console.print(table)
    table = Table("", "median", "p10–p90", "aim", title="compared round by round")
    for it in comparisons:
        table.add_row(it.what, f"{it.summary.median:.2f} ×", spread(it.summary, 2), aim(it.summary.median, it.aim))
    console.print(table)
    return {
        "timings": {name: [dataclasses.asdict(timing) for timing in them] for name, them in timings.items()},
        "comparisons": [dataclasses.asdict(comparison) for comparison in comparisons],
    }


def run_translate(rounds: int) -> dict[str, Any]:
    """Measure, print the tables, and return the data for the JSON file."""
    rows = translate.measure(rounds)
    table = Table("", "µs", "p10–p90", "per", "a second", "aim", title=f"translate, median of {rounds} rounds")
    for row in rows:
        us = row.us
        a_second = f"{1e6 / us.median:,.0f}"
        table.add_row(row.name, f"{us.median:.2f}", spread(us, 1), row.unit, a_second, aim(us.median, row.aim_us))
    console.print(table)
    return {"rows": [dataclasses.asdict(row) for row in rows]}


def run_recording(rounds: int) -> dict[str, Any]:
    """Measure, print the tables, and return the data for the JSON file."""
    console.print(f"recording: {rounds} rounds, about {60 + 25 * rounds} s", style="dim")
    found = recording.measure(rounds)
    plain, taped = found["request_ms"]["plain"], found["request_ms"]["recorded"]
    off, large = found["pace_off_ms"], found["gigabyte"]
    table = Table("", "measured", "aim", title=f"recording: streams of {recording.DELTAS} pieces")
    told = f"{taped:.1f} ms, {plain:.1f} without"
    table.add_row("the proxy's processor time of a request", told, aim(taped / plain, 1.05))
    table.add_row("of that for each piece", f"{found['chunk_ms']:.3f} ms", aim(found["chunk_ms"], 0.1))
    table.add_row("a replay's piece, off by", f"{off.median:.2f} ms, p95 {off.p95:.2f}", aim(off.p95, 20))
    told = f"{large['first']:.1f} s, again {large['again']:.1f} s; {large['memory_mib']:.0f} MiB"
    table.add_row(f"listing a gigabyte ({large['exchanges']:,} exchanges)", told, "seconds")
    console.print(table)
    return {**found, "pace_off_ms": dataclasses.asdict(off)}


def run_startup(rounds: int) -> dict[str, Any]:
    """Measure, print the tables, and return the data for the JSON file."""
    console.print(f"startup: {rounds} rounds, about {10 * (rounds + 1)} s", style="dim")
    rows = startup.measure(rounds)
    table = Table("", "s", "p10–p90", "× mitmdump", "p10–p90", "aim", title=f"startup, median of {rounds} rounds")
    for row in rows:
        seconds, ratio = row.seconds, row.ratio
        told = (f"{seconds.median:.2f}", spread(seconds, 2), f"{ratio.median:.2f}", spread(ratio, 2))
        table.add_row(row.name, *told, aim(ratio.median, row.aim))
    console.print(table)
    return {"rows": [dataclasses.asdict(row) for row in rows]}


def run_pytest_plugin(rounds: int) -> dict[str, Any]:
    """Measure, print the tables, and return the data for the JSON file."""
    console.print(f"pytest_plugin: {rounds} rounds, about {15 * rounds} s", style="dim")
    costs = pytest_plugin.measure(rounds)
    table = Table(
        "what the fixture costs", "median", "p10–p90", "p95", "aim", title=f"pytest_plugin: {pytest_plugin.TESTS} tests"
    )
    for it in costs:
        table.add_row("the first test", f"{it.first_s:.2f} s", "", "", "")
        later = it.later_ms
        table.add_row(
            "a later test", f"{later.median:.1f} ms", spread(later, 1), f"{later.p95:.1f}",
            aim(later.median, pytest_plugin.AIM_MS),
        )  # fmt: skip
    console.print(table)
    return {"costs": [dataclasses.asdict(cost) for cost in costs]}


def spread(summary: Summary, digits: int) -> str:
    """Write the range of measurements, from the 10th to the 90th percentile."""
    return f"{summary.p10:.{digits}f}–{summary.p90:.{digits}f}"


def aim(value: float, most: float | None) -> str:
    """Write an aim, and whether it is met."""
    if most is None:
        return ""
    return f"≤ {most:g}, [green]met[/]" if value <= most else f"≤ {most:g}, [red]missed[/]"


def run_load(rounds: int) -> dict[str, Any]:
    """Measure, print the tables, and return the data for the JSON file."""
    console.print(f"load: {rounds} rounds, about {60 + 25 * rounds} s", style="dim")
    results: dict[str, Any] = {}
    table = Table("", "proxy", "beside it", "", "aim", title="load")
    for streams, delta_s, most in ((1, 0.005, "median"), (8, 0.03, "median"), (32, 0.15, "p95")):
        way = asyncio.run(load.delays(streams, rounds, delta_s))
        added = getattr(way.proxy, most) - (way.direct.median if most == "median" else 0)
        limit = {1: 1.0, 8: 2.0, 32: 10.0}[streams]
        name = f"a delta's way, {streams} at once, {delta_s * 1000:g} ms apart: {most}"
        table.add_row(
            name, f"{getattr(way.proxy, most):.2f} ms", f"{getattr(way.direct, most):.2f} ms",
            f"{way.pieces} of {way.sent} pieces", aim(added, limit),
        )  # fmt: skip
        results[name] = dataclasses.asdict(way)
    for name, measured, unit, most_ratio, least_ratio in (
        ("processor time of a request", asyncio.run(load.cpu(10 * rounds)), "ms", 1.25, None),
        ("answers a second, 8 at once", asyncio.run(load.throughput(8, 2 * rounds)), "", None, 0.85),
    ):
        ratio = measured["proxy"] / measured["SDK"]
        met = aim(ratio, most_ratio) if most_ratio else f"≥ {least_ratio}, {'met' if ratio >= 0.85 else 'missed'}"
        table.add_row(name, f"{measured['proxy']:.1f} {unit}", f"{measured['SDK']:.1f} {unit}", f"{ratio:.2f} ×", met)
        results[name] = measured
    for kind in ("conversation", "loop"):
        times = [t for _ in range(rounds) for t in asyncio.run(load.steps(kind))]
        table.add_row(f"a step of a {kind} of ten", f"{statistics.median(times):.0f} ms", "", "", "")
        results[kind] = times
    sizes = asyncio.run(load.memory(16))
    table.add_row("the proxy's memory for one more stream", f"{sizes['each']:.2f} MiB", "", "", aim(sizes["each"], 1))
    results["memory"] = sizes
    console.print(table)
    results["growth"] = grown = asyncio.run(load.growth())
    for name, points in grown.items():
        console.print(f"{name}: " + ", ".join(f"{x:g}: {y:.0f} ms" for x, y in points))
    try:
        load.plot(grown, GROWTH)
    except ImportError:
        console.print("not drawn: `uv run --group bench python -m bench load`", style="dim")
    return results


def run_soak(minutes: int) -> dict[str, Any]:
    """Run, print the result, and return the data for the JSON file."""
    report = asyncio.run(soak.soak(minutes * 60))
    result = soak.as_json(report)
    console.print_json(json.dumps(result))
    grown = report.late.resident_mib / report.early.resident_mib - 1
    console.print(f"memory {grown:+.1%}, file descriptors {report.early.file_descriptors} → "
                  f"{report.late.file_descriptors}, foreign answers {report.foreign}")  # fmt: skip
    return result


def run_stalls(rounds: int) -> dict[str, Any]:
    """Measure, print the tables, and return the data for the JSON file."""
    console.print(f"stalls: {rounds} rounds, about {100 * rounds} s", style="dim")
    found = [stall for _ in range(rounds) for stall in asyncio.run(stalls.measure())]
    title = "stalls: the longest time between two pieces of an innocent stream, sent 5 ms apart, ms"
    table = Table("beside", "proxy", "API directly", "attack", "failed", "aim", title=title)
    for it in found:
        lasted = f"{it.attack_s:.0f} s" if it.over else f"ended after {it.attack_s:.0f} s"
        table.add_row(
            it.attack, f"{it.proxy_ms:.0f}", f"{it.direct_ms:.0f}", lasted, f"{it.failed}", aim(it.proxy_ms, 100)
        )
    console.print(table)
    return {"stalls": [dataclasses.asdict(it) for it in found]}


def run_chaos(minutes: int) -> dict[str, Any]:
    """Run, print the result, and return the data for the JSON file. ``faults`` lists what must not happen."""
    report = asyncio.run(chaos.chaos(minutes * 60))
    table = Table(
        "after", "times", "s until all is answered again", "ended by itself", title=f"chaos on {report.database}"
    )
    for after in dict.fromkeys(it.after for it in report.recoveries):
        these = [it for it in report.recoveries if it.after == after]
        took = ", ".join("never" if it.seconds is None else f"{it.seconds:.1f}" for it in these)
        table.add_row(after, f"{len(these)}", took, ", ".join(name for it in these for name in it.ended))
    console.print(table)
    console.print(
        f"{report.answers} answers checked, {report.mixed} mixed, {report.unmarked} without their mark; "
        f"{report.acknowledged} responses acknowledged, {report.lost} lost; {report.orphans} orphans; "
        f"{report.recorded} exchanges recorded"
    )
    console.print("refused: " + (", ".join(f"{name}: {count}" for name, count in report.refused.items()) or "none"))
    for fault in report.faults:
        console.print(fault, style="red")
    found = dataclasses.asdict(report) | {"faults": report.faults}
    if not report.faults:
        del found["log"]
    return found


BENCHES: dict[str, tuple[Callable[[int], dict[str, Any]], int]] = {
    "first_token": (run_first_token, 20),
    "responses": (run_responses, 20),
    "translate": (run_translate, 200),
    "load": (run_load, 3),
    "recording": (run_recording, 5),
    "startup": (run_startup, 7),
    "pytest_plugin": (run_pytest_plugin, 3),
    "soak": (run_soak, 10),
    "stalls": (run_stalls, 1),
    "chaos": (run_chaos, 10),
}


def at_least_one(text: str) -> int:
    """Read a number of rounds. Raises ValueError."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def main() -> None:
    """Run the bench that the command line names, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measurements; see docs/bench.md.")
    parser.add_argument("bench", nargs="?", choices=list(BENCHES), help="the bench to run; default: all")
    parser.add_argument(
        "--rounds", "--minutes", type=at_least_one,
        help="the number of rounds, or of minutes for soak and chaos; each bench has its own default",
    )  # fmt: skip
    options = parser.parse_args()
    machine = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "processors": os.cpu_count(),
        "load before": os.getloadavg()[0],
    }
    results: dict[str, Any] = {"machine": machine}
    for name in [options.bench] if options.bench else BENCHES:
        run, rounds = BENCHES[name]
        results[name] = run(options.rounds or rounds)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False), encoding="utf-8")
    where = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    console.print(f"written to {where}", style="dim")
    if any(results.get(name, {}).get("faults") for name in BENCHES):
        sys.exit(1)


if __name__ == "__main__":
    main()
