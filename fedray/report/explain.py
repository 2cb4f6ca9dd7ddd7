"""What went wrong in a run, what it cost, and whether it changed the result."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedray.errors import RunFolderError
from fedray.report import explain_events as told
from fedray.report.breakdown import of_record
from fedray.report.explain_clients import Fates, fates, ledger
from fedray.report.explain_events import Planned, happened, is_done
from fedray.report.explain_kinds import KindCost, kinds
from fedray.simulation.faults.event import FaultEvent
from fedray.simulation.faults.plan import FaultPlan
from fedray.simulation.policy import MISSED
from fedray.simulation.run_folder import Record, RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundStory:
    """One round.

    Attributes:
        round: Its number, from 1.
        time: Epoch seconds when it was recorded, or None.
        wall_s: From the end of the round before to its own end.
        events: What went wrong in it, in the order of the folder; what was not carried out is left out.
        deaths: Client actors that died.
        fates: Fate to number of clients, those that occur.
        more_s: Wall seconds above the median of the undisturbed rounds; None where every round is disturbed.
    """

    round: int
    time: float | None
    wall_s: float
    events: tuple[FaultEvent, ...]
    deaths: int
    fates: dict[str, int]
    more_s: float | None

    @property
    def is_disturbed(self) -> bool:
        """Whether anything went wrong in it; that a client is still in quarantine is nothing new."""
        return bool(self.events or self.deaths or self.fates.keys() - {"ok", "quarantined", *MISSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What went wrong in a run.

    Attributes:
        state: running, finished, interrupted or failed.
        error: Why it failed, or "".
        on_death: What follows by the settings when an actor is lost: replace, drop or abort.
        started: Epoch seconds of the first sign of the run.
        planned: What was to go wrong.
        events: What did, with what belongs together put together.
        reasons: Why planned faults were not carried out, to how often.
        caused: Unplanned events in a process or on a node that a planned fault hit.
        accepted: Damaged updates that nothing refused, so that they are in the result.
        kinds: What each kind did.
        rounds: All recorded rounds.
        median_s: Median wall seconds of the undisturbed rounds, or None where there is none.
        fates: What became of the clients.
    """

    state: str
    error: str
    on_death: str
    started: float
    planned: Planned
    events: tuple[FaultEvent, ...]
    reasons: dict[str, int]
    caused: int
    accepted: int
    kinds: tuple[KindCost, ...]
    rounds: tuple[RoundStory, ...]
    median_s: float | None
    fates: Fates

    @property
    def disturbed(self) -> tuple[RoundStory, ...]:
        """Rounds in which something went wrong."""
        return tuple(story for story in self.rounds if story.is_disturbed)

    @property
    def more_s(self) -> float | None:
        """Wall seconds that disturbed rounds took above the median of the others: an estimate, or None."""
        if self.median_s is None:
            return None
        return sum(max(0.0, story.more_s or 0.0) for story in self.disturbed)

    @property
    def is_calm(self) -> bool:
        """Whether nothing was planned, nothing went wrong, and no client is lost."""
        planned, fates = self.planned, self.fates
        return not (
            planned.total or planned.later or self.events or self.disturbed or fates.num_lost or fates.open_rounds
        )

    @property
    def is_changed(self) -> bool:
        """Whether the result is another than without what went wrong."""
        return bool(self.fates.num_lost or self.accepted)

    def costliest(self, num: int) -> tuple[RoundStory, ...]:
        """The disturbed rounds that took most, in the order of the run."""
        worst = sorted(self.disturbed, key=lambda story: (-story.wall_s, story.round))[:num]
        return tuple(sorted(worst, key=lambda story: story.round))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a JSON file."""
        closed = {"closed": self.fates.is_closed, "lost": self.fates.num_lost, "lost_share": self.fates.lost_share}
        return {
            **asdict(self),
            "changed": self.is_changed,
            "more_s": self.more_s,
            "disturbed_rounds": [story.round for story in self.disturbed],
            "fates": {**asdict(self.fates), **closed},
        }


def explain(folder: str | Path) -> Explanation:
    """Reads what went wrong in a run, finished or not.

    Args:
        folder: The run folder.

    Raises:
        RunFolderError: It is none, it is damaged, or nothing happened in it yet.
    """
    run = RunFolder.open(Path(folder))
    records, status = run.lines("rounds"), run.status()
    lines = told.read(run)
    if not records and not lines:
        raise RunFolderError(f"{folder} has no finished round yet; go on with `fedray resume {folder}`")
    for line, record in enumerate(records, start=1):
        if not isinstance(record.get("round"), int):
            raise RunFolderError(f"{run.path / 'rounds.jsonl'} is damaged: line {line} has no round; remove it")
    rows, events = ledger(run), told.join(lines, records)
    last_round = max([record["round"] for record in records] + [event.round for event in lines])
    planned = told.planned(FaultPlan.load(run.path), rows, lines, last_round)
    became = fates(records, rows, events, is_finished=status["state"] == "finished")
    median_s, stories = _rounds(records, events)
    return Explanation(
        state=status["state"],
        error=str(status.get("error") or ""),
        on_death=str((run.config().get("failures") or {}).get("on_death", "replace")),
        started=_started(status, records, lines),
        planned=planned,
        events=events,
        reasons=dict(Counter(told.why_not(event) for event in events if not happened(event))),
        caused=told.num_caused(events),
        accepted=len({(e.round, e.client) for e in events if e.kind == "corrupt" and is_done(e) and not e.detected_at}),
        kinds=kinds(planned, events, became),
        rounds=stories,
        median_s=median_s,
        fates=became,
    )


def _started(status: Record, records: Sequence[Record], events: Sequence[FaultEvent]) -> float:
    """The first time that anything tells: the status has that of the last resume."""
    times: list[float] = [record["time"] - of_record(record).wall_s for record in records if record.get("time")]
    times += [time for event in events for time in (event.injected_at, event.detected_at) if time is not None]
    times += [status["started"]] if status.get("started") else []
    return min(times, default=0.0)


def _rounds(records: Sequence[Record], events: Sequence[FaultEvent]) -> tuple[float | None, tuple[RoundStory, ...]]:
    by_round: dict[int, list[FaultEvent]] = {}
    for event in filter(happened, events):
        by_round.setdefault(event.round, []).append(event)
    calm_s = [s.wall_s for s in (_story(r, by_round, None) for r in records) if not s.is_disturbed]
    median_s = float(np.median(calm_s)) if calm_s else None
    return median_s, tuple(_story(record, by_round, median_s) for record in records)


def _story(record: Record, events: dict[int, list[FaultEvent]], median_s: float | None) -> RoundStory:
    wall_s = of_record(record).wall_s
    return RoundStory(
        round=record["round"],
        time=record.get("time"),
        wall_s=wall_s,
        events=tuple(events.get(record["round"], ())),
        deaths=int(record.get("deaths") or 0),
        fates={name: number for name, number in (record.get("fates") or {}).items() if number},
        more_s=None if median_s is None else wall_s - median_s,
    )
