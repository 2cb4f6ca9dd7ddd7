"""From runs to figures: medians, ratios, and which targets are met. Pure functions of the records."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from experiments.benchmarks.runs import RUNNERS, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One family of runners on one workload; of several variants the one with the larger median speed.

    Attributes:
        workload: Its name.
        family: Name for tables.
        variant: The variant that the figures are of.
        speed: Clients per second: median, least and most of the repeats.
        round_s: Steady round in seconds, median over repeats of a repeat's median.
        start_s: Median seconds until the first round.
        peak_bytes: Peak memory of all processes.
        num_processes: Processes at that moment.
        loss: Test loss after the check's rounds.
        accuracy: Test accuracy after the check's rounds.
        distance: Largest difference of any parameter from the plain loop's after the check's rounds.
        accounted: Part of the rounds that the runner's own breakdown explains.
    """

    workload: str
    family: str
    variant: str
    speed: tuple[float, float, float]
    round_s: float
    start_s: float
    peak_bytes: int | None
    num_processes: int | None
    loss: float | None
    accuracy: float | None
    distance: float | None
    accounted: float | None


def rows(runs: Iterable[Run]) -> list[Row]:
    """One row for each workload and family, in the order of the runners."""
    runs = [run for run in runs if run.error is None]
    found: list[Row] = []
    for workload in dict.fromkeys(run.workload for run in runs):
        best: dict[str, Row] = {}
        for name, runner in RUNNERS.items():
            mine = [run for run in runs if (run.workload, run.runner) == (workload, name)]
            row = _row(workload, runner.family, name, mine)
            if row and (runner.family not in best or row.speed[0] > best[runner.family].speed[0]):
                best[runner.family] = row
        found += best.values()
    return found


def _row(workload: str, family: str, variant: str, runs: list[Run]) -> Row | None:
    timed = [run for run in runs if run.kind == "timed" and len(run.round_s) > 1]
    check = next((run for run in runs if run.kind == "check"), None)
    if not timed:
        return None
    speeds = [run.clients_per_s for run in timed]
    accounted = [run.accounted for run in timed if run.accounted is not None]
    return Row(
        workload=workload,
        family=family,
        variant=variant,
        speed=(median(speeds), min(speeds), max(speeds)),
        round_s=median(median(run.round_s[1:]) for run in timed),
        start_s=median(run.start_s for run in timed),
        peak_bytes=check.peak_bytes if check else None,
        num_processes=len(check.processes) if check and check.processes else None,
        loss=check.loss if check else None,
        accuracy=check.accuracy if check else None,
        distance=check.distance if check else None,
        accounted=median(accounted) if accounted else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something fedray is meant to reach.

    Attributes:
        workload: On which workload.
        what: In words.
        wanted: Least value.
        other: The family it is compared with.
        measure: "speed": fedray's clients per second by the other's; "memory": the other's peak by fedray's.
    """

    workload: str
    what: str
    wanted: float
    other: str
    measure: str = "speed"

    def value(self, found: dict[tuple[str, str], Row]) -> float | None:
        """The ratio, or None where one of the two was not measured."""
        ours, theirs = found.get((self.workload, "fedray")), found.get((self.workload, self.other))
        if ours is None or theirs is None:
            return None
        if self.measure == "speed":
            return ours.speed[0] / theirs.speed[0]
        return theirs.peak_bytes / ours.peak_bytes if ours.peak_bytes and theirs.peak_bytes else None


def _speed(workload: str, other: str, wanted: float) -> Target:
    return Target(workload=workload, what=f"speed by that of {other}", wanted=wanted, other=other)


TARGETS = (
    _speed("W1", "Flower", 100),
    _speed("W1", "pfl-research", 15),
    _speed("W1", "stacked floor", 0.6),
    _speed("W2", "plain loop", 0.95),
    _speed("W2", "Flower", 1),
    _speed("W2", "pfl-research", 1),
    _speed("W3", "Flower", 1000),
    _speed("W3", "pfl-research", 20),
    _speed("W4", "plain loop", 1 / 1.1),
    *(
        Target(workload=name, what="memory of Flower by ours", wanted=1, other="Flower", measure="memory")
        for name in ("W1", "W2", "W3", "W4")
    ),
)


def judged(found: Iterable[Row]) -> list[tuple[Target, float | None]]:
    """Every target with the value that was measured."""
    by_name = {(row.workload, row.family): row for row in found}
    return [(target, target.value(by_name)) for target in TARGETS]
