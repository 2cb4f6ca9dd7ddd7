"""What went wrong in a run, as sentences."""

from collections.abc import Mapping

from fedray.report.explain import Explanation
from fedray.report.explain_clients import LOST
from fedray.report.explain_events import happened

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
MISSING = "-"
_NAMED = 3


def sentences(found: Explanation) -> list[str]:
    """What was planned, what happened, what it cost, whether every client has a fate, and what it did to the result."""
    if found.is_calm:
        failed = f", but the run failed: {found.error.rstrip('.')}" if found.state == "failed" else ""
        rounds, each = count(len(found.rounds), "round"), _each(found.fates.cohorts)
        return [f"No fault was planned and none happened in {rounds}, and {each} has its fate{_fates(found)}{failed}."]
    texts = [_planned(found), _happened(found), _cost(found), _clients(found), _result(found)]
    texts += [] if found.state == "finished" else [_run(found)]
    return [f"{text[0].upper()}{text[1:]}." for text in texts]


def _fates(found: Explanation) -> str:
    """The fates of a run without faults: what devices did is none."""
    counts = {fate: num for fate, num in found.fates.fates.items() if num}
    return ", ok" if set(counts) <= {"ok"} else ": " + ", ".join(f"{num:,} {fate}" for fate, num in counts.items())


def _planned(found: Explanation) -> str:
    planned = found.planned
    later = "" if not planned.later else f"; {count(planned.later, 'entry', 'entries')} of the plan for later rounds"
    if not planned.total:
        return f"no fault was planned for these rounds{later}"
    return f"{count(planned.total, 'fault')} {_were(planned.total)} planned: {_kinds(planned.by_kind)}{later}"


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
    if not parts:
        parts.append("no fault happened, yet clients were lost" if found.disturbed else "no fault happened")
    return "; ".join(parts)


def _cost(found: Explanation) -> str:
    again = _trained_again(found)
    restarts = any(event.kind in ("kill_driver", "driver died") and happened(event) for event in found.events)
    more = "; the time in which no driver ran is in no round" if restarts else ""
    if not found.disturbed:
        return f"{again}, and no recorded round was disturbed{more}"
    if found.more_s is None or found.median_s is None:
        return f"{again}; how many seconds the run lost cannot be told, since every recorded round has events{more}"
    number = count(len(found.disturbed), "disturbed round")
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
    return f"{count(number, 'client')} {_were(number)} trained again, for {seconds(spent_s)}"


def _clients(found: Explanation) -> str:
    fates = found.fates
    if not found.rounds:
        return "no round was recorded, so no client has a fate yet"
    if fates.open_rounds:
        rounds = ", ".join(map(str, fates.open_rounds[:_NAMED])) + (", ..." if len(fates.open_rounds) > _NAMED else "")
        return f"the ledger does not close: not every client of round {rounds} has exactly one fate there"
    if not fates.is_closed:
        return f"the fates do not add up: {sum(fates.fates.values()):,} for {count(fates.cohorts, 'client')}"
    head = f"{_each(fates.cohorts)} has exactly one fate"
    if fates.ledger_rows is None:
        return f"{head} by the records of the rounds; the ledger itself is not written yet"
    unseen = len(found.rounds) - fates.ledger_rounds
    return head if not unseen else f"{head}; the ledger has not got the last {count(unseen, 'round')} yet"


def _result(found: Explanation) -> str:
    fates, parts = found.fates, list[str]()
    if not found.rounds:
        return "there is no result yet that could be changed"
    if fates.num_lost:
        parts.append(_missing(found))
    if found.accepted:
        number = count(found.accepted, "damaged update")
        parts.append(f"{number} {_were(found.accepted)} not refused and went into it")
    if parts:
        return f"the result was changed: {'; '.join(parts)}"
    return "the result was not changed: every client's update is in it, with the bits of a run without faults"


def _missing(found: Explanation) -> str:
    fates = found.fates
    lost = numbers({name: fates.fates.get(name, 0) for name in LOST})
    if fates.fates.get("dropped"):
        lost += f", as failures.on_death is {found.on_death}"
    text = f"{fates.num_lost:,} of {count(fates.cohorts, 'update')} {_were(fates.num_lost)} left out ({lost})"
    if not fates.losses:
        return f"{text}; which part of the examples that is will be known when the ledger is written"
    guess = f", if {count(fates.num_guessed, 'client')} that never trained had as many as the mean of the others"
    return f"{text}, {percent(fates.lost_share)} of the examples{guess if fates.num_guessed else ''}"


def _run(found: Explanation) -> str:
    after = f"after {count(len(found.rounds), 'recorded round')}"
    if found.state == "failed":
        return f"the run failed {after}: {found.error.rstrip('.')}"
    return f"the run is {'going on' if found.state == 'running' else found.state}, and this is how it stands {after}"


def percent(share: float) -> str:
    """A share of 0 to 1 in per cent; never a loss that reads as none."""
    return f"{100 * share:.2f} %" if not 0 < share < 0.00005 else "< 0.01 %"


def seconds(value: float) -> str:
    """Seconds with their unit."""
    return f"{digits(value)} s"


def digits(value: float) -> str:
    """A number with as many digits as tell something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def numbers(counts: Mapping[str, int]) -> str:
    """Numbers with their names, those that are not 0; a dash where all are."""
    return ", ".join(f"{number:,} {name}" for name, number in counts.items() if number) or MISSING


def _kinds(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} x {WORDS.get(kind, kind)}" for kind, number in counts.items() if number)


def _each(number: int) -> str:
    return "the one client" if number == 1 else f"each of the {number:,} clients of all cohorts"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _times(number: int) -> str:
    return {0: "never", 1: "once"}.get(number, f"{number:,} times")


def count(number: int, what: str, many: str = "") -> str:
    """A number with its word."""
    return f"{number:,} {what if number == 1 else many or what + 's'}"
