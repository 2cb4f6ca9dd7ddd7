"""The profile of a run as a table and sentences."""

from rich.console import Console
from rich.table import Table

from fedray.report.profile import TARGET, UNACCOUNTED, Profile, StepCost

MISSING = "-"


def show(console: Console, profile: Profile, name: str) -> None:
    """Prints a profile.

    Args:
        console: Where to.
        profile: What to print.
        name: The run's name.
    """
    table = Table(title=f"{name}: where {profile.wall_s:.2f} s of {_count(len(profile.rounds), 'round')} went")
    table.add_column("step")
    for column in ("total s", "share", "median ms", "p95 ms", "MB", "MB/s"):
        table.add_column(column, justify="right")
    for step in profile.steps:
        table.add_row(*_cells(step), end_section=step is profile.steps[-2] if len(profile.steps) > 1 else False)
    console.print(table)
    for line in sentences(profile):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _cells(step: StepCost) -> tuple[str, ...]:
    speed = step.bytes_per_s
    return (
        step.name,
        f"{step.total_s:.3f}",
        f"{100 * step.share:.1f} %",
        f"{1000 * step.median_s:.2f}",
        f"{1000 * step.p95_s:.2f}",
        MISSING if step.bytes is None else f"{step.bytes / 1e6:,.2f}",
        MISSING if speed is None else f"{speed / 1e6:,.0f}",
    )


def sentences(profile: Profile) -> list[str]:
    """What the table does not say: the share accounted for, use of the actors, speed, and the slowest round."""
    share = f"{100 * profile.accounted:.1f} %"
    short = "" if profile.accounted >= TARGET else f", less than the {100 * TARGET:.0f} % that it should be"
    used = MISSING if profile.utilisation is None else f"{100 * profile.utilisation:.1f} % of their training time"
    moved = f"; {profile.bytes / 1e6:,.1f} MB moved" if profile.bytes else ""
    return [
        f"accounted    {share} of the wall time{short}",
        f"actors busy  {used}",
        f"speed        {profile.clients_per_s:,.0f} clients/s{moved}",
        f"slowest      {_slowest(profile)}",
    ]


def _slowest(profile: Profile) -> str:
    slowest = profile.slowest
    text = f"round {slowest.round} took {1000 * slowest.wall_s:,.0f} ms"
    if len(profile.rounds) < 2 or slowest.more_s <= 0:
        return text
    where = "in no named step" if slowest.step == UNACCOUNTED else f"in {slowest.step}"
    return f"{text}, {slowest.times_median:.1f} times the median: {1000 * slowest.more_s:,.0f} ms more {where}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
