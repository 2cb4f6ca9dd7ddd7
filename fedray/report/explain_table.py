"""What went wrong in a run, as sentences and tables."""

from collections import Counter
from collections.abc import Mapping

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedray.report.explain import Delay, Explanation, KindCost, RoundStory
from fedray.report.explain_clients import LOST
from fedray.simulation.faults.event import FaultEvent

MISSING = "-"
WORDS = {
    "kill": "process killed",
    "hang": "process stopped",
    "slow": "process slowed down",
    "exhaust_memory": "process out of memory",
    "lose_result": "answer lost",
    "delay_result": "answer delayed",
    "exception": "training that raises",
    "corrupt": "update damaged",
    "kill_node": "node killed",
    "kill_driver": "driver killed",
    "tracking_away": "MLflow away",
    "storage_full": "storage full",
    "storage_error": "storage error",
    "restart_control": "restart of Ray's control",
    "death": "process that died",
    "lost answer": "answer that never came",
    "driver died": "driver that died",
}
"""What the kinds are called in sentences."""
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


def sentences(found: Explanation) -> list[str]:
    """What was planned, what happened, what it cost, whether every client has a fate, and what it did to the result."""
    if found.is_calm:
        failed = f", but the run failed: {found.error.rstrip('.')}" if found.state == "failed" else ""
        rounds, each = _count(len(found.rounds), "round"), _each(found.fates.cohorts)
        return [f"No fault was planned and none happened in {rounds}, and {each} has its fate, ok{failed}."]
    texts = [_planned(found), _happened(found), _cost(found), _clients(found), _result(found)]
    texts += [] if found.state == "finished" else [_run(found)]
    return [f"{text[0].upper()}{text[1:]}." for text in texts]


def _planned(found: Explanation) -> str:
    planned = found.planned
    later = "" if not planned.later else f"; {_count(planned.later, 'entry', 'entries')} of the plan for later rounds"
    if not planned.total:
        return f"no fault was planned for these rounds{later}"
    return f"{_count(planned.total, 'fault')} {_were(planned.total)} planned: {_kinds(planned.by_kind)}{later}"


def _happened(found: Explanation) -> str:
    parts: list[str] = []
    if found.planned.total:
        done = sum(kind.carried_out for kind in found.kinds)
        parts.append(f"faults of the plan were carried out {_times(done)}")
    if found.reasons:
        reasons = list(found.reasons.items())
        named = ", ".join(f"{reason} ({number:,})" for reason, number in reasons[:_NAMED])
        more = ", and for other reasons" if len(reasons) > _NAMED else ""
        parts.append(f"{sum(found.reasons.values()):,} could not be: {named}{more}")
    unplanned = {kind.kind: kind.unplanned for kind in found.kinds if kind.unplanned}
    if unplanned:
        from_plan = f", {found.caused:,} of them where a planned fault had struck" if found.caused else ""
        parts.append(f"what happened without a plan: {_kinds(unplanned)}{from_plan}")
    return "; ".join(parts) or "no fault happened, yet clients or rounds were lost"


def _cost(found: Explanation) -> str:
    again = _trained_again(found)
    restarts = any(event.kind in ("kill_driver", "driver died") for event in found.events)
    more = "; the time in which no driver ran is in no round" if restarts else ""
    if not found.disturbed:
        return f"{again}, and no recorded round was disturbed{more}"
    if found.more_s is None or found.median_s is None:
        return f"{again}; how many seconds the run lost cannot be told, since every recorded round has events{more}"
    number = _count(len(found.disturbed), "disturbed round")
    return (
        f"{again}; {number} took {seconds(found.more_s)} in all above {seconds(found.median_s)}, the median of rounds "
        f"without events, which is an estimate: whatever else slowed them is in it{more}"
    )


def _trained_again(found: Explanation) -> str:
    """By the ledger, in which a client that was lost twice is one; by the events where there is no ledger."""
    number, spent_s = found.fates.trained_again, found.fates.trained_again_s
    if found.fates.ledger_rows is None:
        number = sum(kind.trained_again for kind in found.kinds)
        spent_s = sum(kind.trained_again_s for kind in found.kinds)
    if not number:
        return "no client was trained again"
    return f"{_count(number, 'client')} {_were(number)} trained again, for {seconds(spent_s)}"


def _clients(found: Explanation) -> str:
    fates = found.fates
    if not found.rounds:
        return "no round was recorded, so no client has a fate yet"
    if fates.open_rounds:
        rounds = ", ".join(map(str, fates.open_rounds[:_NAMED])) + (", ..." if len(fates.open_rounds) > _NAMED else "")
        return f"the ledger does not close: not every client of round {rounds} has exactly one fate there"
    if not fates.is_closed:
        return f"the fates do not add up: {sum(fates.fates.values()):,} for {_count(fates.cohorts, 'client')}"
    head = f"{_each(fates.cohorts)} has exactly one fate"
    if fates.ledger_rows is None:
        return f"{head} by the records of the rounds; the ledger itself is not written yet"
    unseen = len(found.rounds) - fates.ledger_rounds
    return head if not unseen else f"{head}; the ledger has not got the last {_count(unseen, 'round')} yet"


def _result(found: Explanation) -> str:
    fates, parts = found.fates, list[str]()
    if not found.rounds:
        return "there is no result yet that could be changed"
    if fates.num_lost:
        parts.append(_missing(found))
    if found.accepted:
        number = _count(found.accepted, "damaged update")
        parts.append(f"{number} {_were(found.accepted)} not refused and went into it")
    if parts:
        return f"the result was changed: {'; '.join(parts)}"
    return "the result was not changed: every client's update is in it, with the bits of a run without faults"


def _missing(found: Explanation) -> str:
    fates = found.fates
    lost = _numbers({name: fates.fates.get(name, 0) for name in LOST})
    if fates.fates.get("dropped"):
        lost += f", as failures.on_death is {found.on_death}"
    text = f"{fates.num_lost:,} of {_count(fates.cohorts, 'update')} {_were(fates.num_lost)} left out ({lost})"
    if not fates.losses:
        return f"{text}; which part of the examples that is will be known when the ledger is written"
    guess = f", if {_count(fates.num_guessed, 'client')} that never trained had as many as the mean of the others"
    return f"{text}, {percent(fates.lost_share)} of the examples{guess if fates.num_guessed else ''}"


def _run(found: Explanation) -> str:
    after = f"after {_count(len(found.rounds), 'recorded round')}"
    if found.state == "failed":
        return f"the run failed {after}: {found.error.rstrip('.')}"
    return f"the run is {'going on' if found.state == 'running' else found.state}, and this is how it stands {after}"


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
    table.caption = "after s: median/worst seconds; weight: per cent of the examples of the run"
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
    return f"{number}\n{_digits(delay.median_s)}/{_digits(delay.worst_s)}"


def _timeline(found: Explanation, num: int) -> Table:
    shown = found.costliest(num)
    of = "" if len(shown) == len(found.disturbed) else f" {len(shown)} most costly of"
    number = _count(len(found.disturbed), "disturbed round")
    table = Table(title=f"the{of} {number}", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("round", justify="right")
    table.add_column("what happened", overflow="fold")
    table.add_column("seconds", justify="right")
    table.add_column("median", justify="right")
    table.add_column("fates", overflow="fold")
    for story in shown:
        table.add_row(
            str(story.round),
            Text(happenings(story)),
            _digits(story.wall_s),
            MISSING if found.median_s is None else _digits(found.median_s),
            _numbers(story.fates),
        )
    table.caption = "median: seconds of the undisturbed rounds"
    return table


def happenings(story: RoundStory) -> str:
    """What happened in a round, in a few words."""
    counts = Counter(event.kind for event in story.events)
    parts = [_of_kind(kind, [e for e in story.events if e.kind == kind]) for kind in counts]
    if not parts and story.deaths:
        parts.append(_count(story.deaths, "death"))
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
    numbers = [fates.fates[name] for name in names]
    table.add_row(*(f"{number:,}" for number in (*numbers, sum(numbers), fates.cohorts)))
    return table


def percent(share: float) -> str:
    """A share of 0 to 1 in per cent; never a loss that reads as none."""
    return f"{100 * share:.2f} %" if not 0 < share < 0.00005 else "< 0.01 %"


def seconds(value: float) -> str:
    """Seconds with as many digits as tell something."""
    return f"{_digits(value)} s"


def _digits(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _numbers(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items() if number) or MISSING


def _kinds(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} x {WORDS.get(kind, kind)}" for kind, number in counts.items() if number)


def _each(number: int) -> str:
    return "the one client" if number == 1 else f"each of the {number:,} clients of all cohorts"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _times(number: int) -> str:
    return {0: "never", 1: "once"}.get(number, f"{number:,} times")


def _count(number: int, what: str, many: str = "") -> str:
    return f"{number:,} {what if number == 1 else many or what + 's'}"
