"""What went wrong in a run, as tables under a few sentences."""

from collections import Counter

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedray.report.explain import Explanation, RoundStory
from fedray.report.explain_kinds import Delay, KindCost
from fedray.report.explain_words import MISSING, count, digits, numbers, percent, seconds, sentences
from fedray.simulation.faults.event import FaultEvent

_NAMED = 3


def show(console: Console, found: Explanation, name: str, num_rounds: int) -> None:
    """Prints what went wrong.

    Args:
        console: Where to.
        found: What to print.
        name: The run's name.
        num_rounds: How many rounds to show.
    """
    for line in sentences(found):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if found.is_calm:
        return
    console.print(_by_kind(found, name))
    if found.disturbed and num_rounds:
        console.print(_timeline(found, num_rounds))
    console.print(_fates(found))


def _by_kind(found: Explanation, name: str) -> Table:
    table = Table(title=f"{name}: what went wrong, by kind", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("kind")
    columns = (
        "planned",
        "carried\nout",
        "found\nafter s",
        "made good\nafter s",
        "trained\nagain",
        "lost",
        "weight\nlost",
    )
    for column in columns:
        table.add_column(column, justify="right")
    for kind in found.kinds:
        table.add_row(*_cells(kind, found.fates.ledger_rows is not None))
    table.caption = (
        "found after s: seconds from the fault, made good after s: from there until what was lost is trained again, "
        "median/worst; weight lost: part of the examples that is not in the result"
    )
    return table


def _cells(kind: KindCost, is_known: bool) -> tuple[str, ...]:
    return (
        kind.kind,
        str(kind.planned),
        str(kind.carried_out),
        _delay(kind.found, kind.found_after),
        _delay(kind.made_good, kind.made_good_after),
        f"{kind.trained_again}\n{seconds(kind.trained_again_s)}" if kind.trained_again else "0",
        f"{kind.lost.clients:,}" if is_known else MISSING,
        percent(kind.lost_share) if is_known else MISSING,
    )


def _delay(number: int, delay: Delay) -> str:
    if delay.median_s is None or delay.worst_s is None:
        return str(number)
    return f"{number}\n{digits(delay.median_s)}/{digits(delay.worst_s)}"


def _timeline(found: Explanation, num: int) -> Table:
    shown = found.costliest(num)
    of = "" if len(shown) == len(found.disturbed) else f" {len(shown)} most costly of"
    number = count(len(found.disturbed), "disturbed round")
    table = Table(title=f"the{of} {number}", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("round", justify="right")
    table.add_column("what happened", overflow="fold")
    table.add_column("seconds", justify="right")
    median = [] if found.median_s is None else [digits(found.median_s)]
    if median:
        table.add_column("median", justify="right")
        table.caption = "median: seconds of the undisturbed rounds"
    table.add_column("fates", overflow="fold")
    for story in shown:
        cells = (Text(happenings(story)), digits(story.wall_s), *median, numbers(story.fates))
        table.add_row(str(story.round), *cells)
    return table


def happenings(story: RoundStory) -> str:
    """What happened in a round, in a few words."""
    counts = Counter(event.kind for event in story.events)
    parts = [_of_kind(kind, [e for e in story.events if e.kind == kind]) for kind in counts]
    if not parts and story.deaths:
        parts.append(count(story.deaths, "death"))
    if not parts:
        parts.append("clients failed without a fault")
    return "; ".join(parts)


def _of_kind(kind: str, events: list[FaultEvent]) -> str:
    what = kind if len(events) == 1 else f"{len(events)} {kind}"
    is_client = any(event.client >= 0 and event.block >= 0 for event in events) and kind in ("exception", "corrupt")
    places = sorted({event.client if is_client else event.block for event in events} - {-1})
    if not places:
        return what
    word = "client" if is_client else "block"
    more = f" and {len(places) - _NAMED} more" if len(places) > _NAMED else ""
    return f"{what} ({word} {', '.join(map(str, places[:_NAMED]))}{more})"


def _fates(found: Explanation) -> Table:
    fates = found.fates
    table = Table(title="fates of the whole run", box=box.SIMPLE_HEAD, pad_edge=False)
    names = [name for name, number in fates.fates.items() if number]
    for column in (*names, "sum", "sum of cohorts"):
        table.add_column(column, justify="right")
    sums = [*(fates.fates[name] for name in names), sum(fates.fates.values()), fates.cohorts]
    table.add_row(*(f"{number:,}" for number in sums))
    return table
