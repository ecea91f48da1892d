"""Compares agentkit with loops written by hand and with other frameworks, in interleaved rounds.

    make bench-frameworks                       # once: the frameworks' environments
    make bench                                  # ARGS: --quick, --only NAME..., --rows NAME..., --save

One process for each contender, all on one core, the server on another one. Each row is measured in turns, a round after
the other, so that what disturbs the machine disturbs all. The figures are medians; CPU is that of the contender's
process. ``--save`` writes the page's table, the plot and the JSON that docs/performance.md shows.
"""

import argparse
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from environments import CONTENDERS, ENVIRONMENTS, HERE, ROOT, Contender
from plot import plot

Results = dict[str, dict[str, dict[str, float]]]  # row -> contender -> figure -> median

PATH = os.pathsep.join(map(str, (ROOT, HERE)))
LAST_CORE = max(os.sched_getaffinity(0))
FIRST_CORE = min(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Row:
    """A row of the table: what a worker does, how often, and who takes part.

    Attributes:
        name: What is printed.
        method: The worker's method, or empty for what is measured from outside.
        size: Its size.
        rounds: How many rounds; the frameworks have at most ``slow`` of them, and none if it is 0.
        unit: What the figure is multiplied by, and its name.
        rate: Whether the figure is how many there are in a second.
        figure: ``cpu`` or ``wall`` or another figure that the worker gives.
    """

    name: str
    method: str
    size: int
    rounds: int
    slow: int
    unit: tuple[float, str]
    rate: bool = False
    figure: str = "cpu"


MS, S, MB = (1e3, "ms"), (1.0, "s"), (1e-6, "MB")
RUN, TURN, GROWTH = "run of 2 requests", "turn of a 200-turn run", "its last turns, times the 10th"
AT_100, AT_500, AT_1000 = (f"{count:,} concurrent runs of 3 requests" for count in (100, 500, 1000))
BLOCKING, STREAM, FRAGMENTS = "10 blocking tools of 50 ms", "streamed chunks", "arguments in 500 fragments"
MEMORY, SLOPE, IMPORT = "memory after 500 concurrent runs", "memory that stays of each run", "import"
ROWS = (
    Row(RUN, "runs", 40, 9, 5, MS),
    Row(TURN, "turns", 200, 5, 2, MS),
    Row(GROWTH, "turns", 200, 0, 0, (1.0, "times"), figure="growth"),
    Row(AT_100, "concurrent", 100, 3, 1, S, rate=True),
    Row(AT_500, "concurrent", 500, 2, 1, S, rate=True),
    Row(AT_1000, "concurrent", 1000, 1, 0, S, rate=True),
    Row(BLOCKING, "blocking", 10, 7, 5, MS, figure="wall"),
    Row(STREAM, "stream", 5000, 7, 3, S, rate=True),
    Row(FRAGMENTS, "fragments", 500, 7, 3, MS),
    Row(MEMORY, "concurrent", 500, 0, 0, MB, figure="rss"),
    Row(SLOPE, "slope", 2000, 1, 0, (1.0, "bytes"), figure="bytes"),
    Row(IMPORT, "", 0, 9, 5, MS),
)


class Worker:
    """The process of a contender."""

    def __init__(self, contender: Contender, base_url: str, stack: ExitStack) -> None:
        self.contender = contender
        command: list[str | Path] = [contender.python, HERE / "worker.py", contender.driver, base_url, str(FIRST_CORE)]
        environment = {**os.environ, "PYTHONPATH": PATH, "OPENAI_API_KEY": "none"}
        self.process = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        )
        assert self.process.stdin is not None
        stack.callback(self.process.stdin.close)

    def measure(self, row: Row) -> dict[str, float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([row.method, row.size]) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline() or '{"error": "the worker has ended"}')
        if "error" in answer:
            print(f"  {self.contender.name}, {row.name}: {answer['error']}", file=sys.stderr)
            return {}
        return answer


@contextmanager
def fake_server() -> Iterator[str]:
    command: list[str | Path] = [sys.executable, HERE / "server.py", str(LAST_CORE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        pipe: IO[str] | None = process.stdout
        assert pipe is not None
        yield f"http://127.0.0.1:{int(pipe.readline())}/v1"
        process.terminate()


def cpu_of(python: Path, code: str) -> float:
    """Seconds of CPU of a new interpreter that runs this."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": PATH, "PYTHONDONTWRITEBYTECODE": ""}  # modules are compiled once
    subprocess.run([python, "-c", code], check=True, env=environment, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


DEPENDENCIES = "import anyio, docstring_parser, httpx2; from pydantic import BaseModel, TypeAdapter"
COMMAND = "from agentkit.cli import main; main(['--help'])"


def measure_outside(rounds: int, agentkit: Contender) -> dict[str, float]:
    """What has no contender: seconds of CPU."""
    parts = json.loads(
        subprocess.run(
            [agentkit.python, HERE / "parts.py"],
            check=True,
            env={**os.environ, "PYTHONPATH": PATH},
            capture_output=True,
            text=True,
        ).stdout
    )
    times: dict[str, list[float]] = {"dependencies": [], "command": [], "nothing": []}
    for _ in range(rounds):
        times["dependencies"].append(cpu_of(agentkit.python, DEPENDENCIES))
        times["nothing"].append(cpu_of(agentkit.python, "pass"))
        times["command"].append(cpu_of(Path(sys.executable), COMMAND))
    return {**parts, **{name: statistics.median(each) for name, each in times.items()}}


def measure(rows: list[Row], contenders: list[Contender], *, quick: bool) -> Results:
    """All rows of all contenders, interleaved; what a worker gives besides the row's figure is kept as well."""
    seen: dict[str, dict[str, list[dict[str, float]]]] = {row.name: {} for row in rows}
    with fake_server() as base_url, ExitStack() as stack:
        workers = [Worker(each, base_url, stack) for each in contenders]
        for row in rows:
            for turn in range(min(row.rounds, 2) if quick else row.rounds):
                for worker in workers:
                    if turn >= (row.slow if worker.contender.group == "framework" else row.rounds):
                        continue
                    print(f"\r\x1b[K{row.name}, round {turn + 1}: {worker.contender.name}", end="", file=sys.stderr)
                    of = worker.contender
                    figures = worker.measure(row) if row.method else {"cpu": cpu_of(of.python, f"import {of.imports}")}
                    if figures:
                        seen[row.name].setdefault(of.name, []).append(figures)
        print("\r\x1b[K", end="", file=sys.stderr)
    return {
        name: {
            contender: {figure: statistics.median(each[figure] for each in rounds) for figure in rounds[0]}
            for contender, rounds in contenders_.items()
        }
        for name, contenders_ in seen.items()
    }


def value(results: Results, row: Row, contender: str) -> float | None:
    """The figure of a cell, in its unit."""
    source = next((each for each in ROWS if each.method == row.method and each.size == row.size), row)
    figure = results.get(source.name, {}).get(contender, {}).get(row.figure)
    if figure is None:
        return None
    return 1 / figure if row.rate else figure * row.unit[0]


def title(row: Row) -> str:
    what = "of wall time" if row.figure == "wall" else "of CPU" if row.figure == "cpu" else ""
    return f"{row.name}, {'per second' if row.rate else row.unit[1]} {what}".rstrip()


def table(results: Results, rows: list[Row], contenders: list[Contender]) -> str:
    """The table, as Markdown."""
    lines = [f"| | {' | '.join(each.name for each in contenders)} |", "|---" * (len(contenders) + 1) + "|"]
    for row in rows:
        values = [value(results, row, each.name) for each in contenders]
        lines.append(f"| {title(row)} | {' | '.join('' if each is None else shown(each) for each in values)} |")
    return "\n".join(lines)


def shown(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def goals(
    results: Results, outside: dict[str, float], contenders: list[Contender]
) -> Iterator[tuple[str, float, float]]:
    """What is to be reached: in words, the ratio, and its bound, which is negative where the ratio is to be larger."""
    by_name = {row.name: row for row in ROWS}
    frameworks = [each.name for each in contenders if each.group == "framework"]

    def of(row: str, name: str) -> float:
        return value(results, by_name[row], name) or math.nan

    def best(row: str) -> float:
        known = [found for each in frameworks if (found := value(results, by_name[row], each)) is not None]
        return (max if by_name[row].rate else min)(known, default=math.nan)

    for ours, hand, run_factor in (("agentkit", "httpx2 by hand", 3), ("agentkit aiohttp", "aiohttp by hand", 5)):
        if ours not in {each.name for each in contenders}:
            continue
        yield f"{ours}: a run, times the loop's", of(RUN, ours) / of(RUN, hand), 1.5
        yield f"{ours}: a turn of 200, times the loop's", of(TURN, ours) / of(TURN, hand), 1.3
        yield f"{ours}: the last turns of 200, times the 10th", of(GROWTH, ours), 1.2
        for row in (AT_100, AT_500, AT_1000):
            yield f"{ours}: {row}, share of the loop's", of(row, ours) / of(row, hand), -0.8
        yield f"{ours}: streamed chunks, share of the loop's", of(STREAM, ours) / of(STREAM, hand), -0.6
        yield f"{ours}: 10 blocking tools, ms", of(BLOCKING, ours), 60
        yield f"{ours}: bytes that stay of a run", of(SLOPE, ours), 10
        yield f"{ours}: a run, times as fast as the best framework's", best(RUN) / of(RUN, ours), -run_factor
        yield f"{ours}: a turn of 200, likewise", best(TURN) / of(TURN, ours), -20
        yield f"{ours}: 500 concurrent runs, likewise", of(AT_500, ours) / best(AT_500), -10
        yield f"{ours}: streamed chunks, likewise", of(STREAM, ours) / best(STREAM), -5
    yield "a tool's schema, times that of pydantic's model", outside["tool"] / outside["model"], 2
    own, theirs = of(IMPORT, "agentkit") / 1e3, outside["dependencies"]
    yield "import, times that of the dependencies", own / theirs, 1.3


def report(results: Results, outside: dict[str, float], rows: list[Row], contenders: list[Contender]) -> str:
    """Everything in Markdown."""
    versions = ", ".join(f"{each.name} {each.installed()[2]}" for each in contenders if each.installed()[2])
    sizes = [each.installed() for each in contenders]

    def ms(name: str) -> str:
        return f"{shown(outside[name] * 1e3)} ms"

    others = (
        f"CPU of the first output of `agentkit --help`: {ms('command')}; of an interpreter that does nothing: "
        f"{ms('nothing')}; of reading a session of 100 messages from SQLite: {ms('session')}; of making a tool of a "
        f"function with five parameters: {ms('tool')}; a pydantic model with five fields and its schema: {ms('model')}."
    )
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {os.cpu_count()} cores, {versions}.",
        "",
        table(results, rows, contenders),
        f"| distributions installed | {' | '.join(str(count) for count, _, _ in sizes)} |",
        f"| installed, MB | {' | '.join(f'{size:.0f}' for _, size, _ in sizes)} |",
        "",
        others,
        "",
        "| goal | | reached |",
        "|---|---|---|",
    ]
    for what, ratio, bound in goals(results, outside, contenders):
        if not math.isnan(ratio):
            reached = ratio >= -bound if bound < 0 else ratio <= bound
            limit = f"at least {-bound:g}" if bound < 0 else f"at most {bound:g}"
            lines.append(f"| {what}: {limit} | {shown(ratio)} | {'yes' if reached else 'no'} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rounds, and no frameworks")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these contenders only")
    parser.add_argument("--rows", nargs="+", metavar="PART", help="rows whose name contains one of these only")
    parser.add_argument("--save", action="store_true", help="write what docs/performance.md shows")
    options = parser.parse_args()
    chosen = [each for each in CONTENDERS if not options.only or each.name in options.only]
    chosen = [each for each in chosen if each.group != "framework" or not (options.quick or not each.python.exists())]
    for each in chosen:
        if not each.python.exists():
            each.make()
    rows = [row for row in ROWS if not options.rows or any(part in row.name for part in options.rows)]
    results = measure([row for row in rows if row.rounds], chosen, quick=options.quick)
    outside = measure_outside(3 if options.quick else 9, next(each for each in CONTENDERS if each.name == "agentkit"))
    text = report(results, outside, rows, chosen)
    print(text)
    place = HERE if options.save else ENVIRONMENTS
    (place / "results.json").write_text(json.dumps({"rows": results, "outside": outside}, indent=1) + "\n")
    if options.save:
        bars = [row for row in ROWS if row.name in (RUN, TURN, AT_500, STREAM)]
        shown_rows = {title(row): {each.name: value(results, row, each.name) or 0 for each in chosen} for row in bars}
        (ROOT / "docs" / "performance.svg").write_text(plot(shown_rows))
        page = ROOT / "docs" / "performance.md"
        before, _, rest = page.read_text().partition(BEGIN)
        page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


BEGIN, END = "<!-- make bench ARGS=--save writes from here -->", "<!-- to here -->"


if __name__ == "__main__":
    main()
