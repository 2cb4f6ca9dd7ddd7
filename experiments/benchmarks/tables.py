"""The tables, for the terminal and as Markdown."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from experiments.benchmarks.runs import RUNNERS
from experiments.benchmarks.summary import Row, judged
from experiments.benchmarks.workloads import WORKLOADS

HEAD = (
    "runner",
    "clients/s",
    "least-most",
    "round s",
    "start s",
    "peak MB",
    "procs",
    "test loss",
    "accuracy",
    "difference",
)
RATIOS = ("workload", "fedray", "measured", "target", "")


def figures(number: float) -> str:
    """Three figures: 0.0123, 1.23, 12.3, 1,230."""
    if number == 0:
        return "0"
    if abs(number) >= 100:
        return f"{float(f'{number:.3g}'):,.0f}"
    return f"{number:#.3g}"


def cells(row: Row) -> tuple[str, ...]:
    """One line of a workload's table."""
    speed, least, most = (figures(value) for value in row.speed)
    return (
        RUNNERS[row.variant].label,
        speed,
        f"{least}-{most}",
        figures(row.round_s),
        figures(row.start_s),
        "-" if row.peak_bytes is None else figures(row.peak_bytes / 1e6),
        "-" if row.num_processes is None else str(row.num_processes),
        "-" if row.loss is None else f"{row.loss:.4f}",
        "-" if row.accuracy is None else f"{100 * row.accuracy:.2f} %",
        "-" if row.distance is None else f"{row.distance:.0e}",
    )


def verdicts(found: Iterable[Row]) -> list[tuple[str, ...]]:
    """One line for each target: what was measured, and whether that is enough."""
    lines: list[tuple[str, ...]] = []
    for target, value in judged(found):
        verdict = "not measured" if value is None else "met" if value >= target.wanted else "NOT met"
        measured = "-" if value is None else f"{figures(value)}x"
        lines.append((target.workload, target.what, measured, f">= {figures(target.wanted)}x", verdict))
    return lines


def sections(found: Sequence[Row]) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Title, head and lines of each table."""
    tables: list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]] = []
    for name in dict.fromkeys(row.workload for row in found):
        workload = WORKLOADS[name]
        title = f"{name}: {workload.title} (last three columns: after {workload.check_rounds} rounds)"
        tables.append((title, HEAD, [cells(row) for row in found if row.workload == name]))
    tables.append(("Targets", RATIOS, verdicts(found)))
    return tables


def markdown(found: Sequence[Row], about: str) -> str:
    """All tables, with a line about the machine and the versions."""
    parts = [about]
    for title, head, lines in sections(found):
        rule = ["---", *["---:"] * (len(head) - 1)]
        table = [f"| {' | '.join(line)} |" for line in (head, rule, *lines)]
        parts.append("\n".join([f"**{title}**", "", *table]))
    explained = [f"{row.workload} {100 * row.accounted:.1f} %" for row in found if row.accounted is not None]
    if explained:
        parts.append(f"Part of fedray's round time that its own records explain: {', '.join(explained)}.")
    return "\n\n".join(parts) + "\n"


def show(found: Sequence[Row], console: Console) -> None:
    """All tables on the terminal."""
    for title, head, lines in sections(found):
        table = Table(title=title, title_justify="left")
        for i, name in enumerate(head):
            table.add_column(name, justify="right" if i else "left")
        for line in lines:
            table.add_row(*line)
        console.print(table)
