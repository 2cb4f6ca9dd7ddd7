"""The driver killed now and then, and saved after different intervals: which of them costs least?

The optimum of Young and Daly is sqrt(2 M C) seconds, for failures that come every M seconds on average and checkpoints
that cost C seconds each: J. W. Young, A first order approximation to the optimum checkpoint interval, Communications of
the ACM 17(9), 1974; J. T. Daly, A higher order estimate of the optimum checkpoint interval for restart dumps, Future
Generation Computer Systems 22(3), 2006.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import ray
from rich.console import Console
from rich.table import Table

import fedray
from experiments.fault_tolerance.intervals_figure import figure
from experiments.fault_tolerance.pauses import Pauses
from experiments.fault_tolerance.runs import HERE, RESULTS, start_ray
from fedray import Result
from fedray.files import write_json
from fedray.simulation.watch import Event

INTERVALS = (0.0, 1.0, 2.0, 4.0, 8.0, 1000.0)
"""`checkpoint.every_s`: after every round, up to never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """A run whose driver was killed.

    Attributes:
        every_s: `checkpoint.every_s`.
        wall_s: From its first round to the record of its last.
        kills: How often the driver was killed.
        lost_rounds: Recorded rounds that were computed again.
        restart_s: Wall seconds from the signals to the first rounds of the next drivers, summed up.
        digest: Of the last round.
    """

    every_s: float
    wall_s: float
    kills: int
    lost_rounds: int
    restart_s: float
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What an interval should cost, to first order, after Young.

    Attributes:
        work_s: Wall seconds of all rounds, undisturbed and without checkpoints.
        round_s: Of one round: no checkpoint comes sooner after another.
        checkpoint_s: What one checkpoint adds to them.
        restart_s: From a kill to the next driver's first round.
        kills: How often.
    """

    work_s: float
    round_s: float
    checkpoint_s: float
    restart_s: float
    kills: int

    @property
    def mtbf_s(self) -> float:
        """Mean time of work between two kills."""
        return self.work_s / self.kills

    @property
    def optimum_s(self) -> float:
        """The best interval."""
        return math.sqrt(2 * self.mtbf_s * self.checkpoint_s)

    def wall_s(self, every_s: float) -> float:
        """Wall time with an interval: work, checkpoints, and for each kill a restart and half an interval again.

        Without checkpoints in time, what a kill takes is all work since the start: half of the whole on average.
        """
        every_s = min(max(every_s, self.round_s), self.work_s)
        saves = self.work_s / every_s
        return self.work_s + saves * self.checkpoint_s + self.kills * (self.restart_s + every_s / 2)


class Told:
    """What a run told while it ran.

    Attributes:
        began: Epoch seconds at which each driver began with its first round.
        first: Which round that was.
        ended: Epoch seconds at which the last record was told.
    """

    def __init__(self) -> None:
        self.began: list[float] = []
        self.first: list[int] = []
        self.ended = 0.0

    def watch(self, event: Event) -> None:
        """Told of the run."""
        if event.kind == "starting" and "seconds" in event.values:
            self.began.append(time.time())
            self.first.append(int(event.values["text"].split()[1]))  # "round 7 of 40"
        if event.kind == "round":
            self.ended = event.values["time"]


def main() -> None:
    """What a checkpoint costs without kills, one run for each interval, a table and a plot."""
    start_ray()
    print("left alone, saved after every round, and never ...", flush=True)
    saved, unsaved = calm(0.0), calm(INTERVALS[-1])
    runs = [killed(every_s) for every_s in INTERVALS]
    ray.shutdown()
    rounds = unsaved.history["seconds/round"]
    round_s = float(rounds.median())
    model = Model(
        work_s=round_s * len(rounds),
        round_s=round_s,
        checkpoint_s=max(0.0, float(saved.history["seconds/round"].median()) - round_s),
        restart_s=sum(run.restart_s for run in runs) / sum(run.kills for run in runs),
        kills=runs[0].kills,
    )
    found = {
        "model": {**asdict(model), "mtbf_s": model.mtbf_s, "optimum_s": model.optimum_s},
        "runs": list(map(asdict, runs)),
    }
    write_json(RESULTS / "intervals.json", found)
    points = [(run.every_s, run.wall_s, run.lost_rounds) for run in runs]
    figure(points, model.wall_s, (model.round_s, model.work_s), model.optimum_s).savefig(
        RESULTS / "intervals.png", dpi=120
    )
    console = Console(width=110)
    console.print(_table(runs, model, unsaved.digest))
    console.print(
        f"A round takes {model.round_s:.2f} s and a checkpoint {model.checkpoint_s:.3f} s more; a kill comes every "
        f"{model.mtbf_s:.1f} s of work, and a restart takes {model.restart_s:.1f} s. "
        f"Young and Daly: save every {model.optimum_s:.2f} s."
    )


def calm(every_s: float) -> Result:
    """The run without kills."""
    settings = [f"checkpoint.every_s={every_s}", "faults=[]"]
    return fedray.run(fedray.load(HERE / "intervals.yaml", settings))


def killed(every_s: float) -> Killed:
    """The run with kills."""
    print(f"killed, saved every {every_s:g} s ...", flush=True)
    told, settings = Told(), [f"checkpoint.every_s={every_s}"]
    with Pauses() as pauses:
        result = fedray.run(fedray.load(HERE / "intervals.yaml", settings), on_event=told.watch)
    faults = result.faults
    signals = faults[faults["kind"] == "kill_driver"]["injected_at"].tolist()
    deaths = faults[faults["kind"] == "driver died"]["round"].tolist()
    return Killed(
        every_s=every_s,
        wall_s=told.ended - told.began[0] - pauses.within(told.began[0], told.ended),
        kills=len(signals),
        lost_rounds=sum(died - first for died, first in zip(deaths, told.first[1:], strict=True)),
        restart_s=sum(
            began - signal - pauses.within(signal, began) for signal, began in zip(signals, told.began[1:], strict=True)
        ),
        digest=result.digest,
    )


def _table(runs: Sequence[Killed], model: Model, digest: str) -> Table:
    table = Table(title=f"the driver killed {model.kills} times in {round(model.work_s / model.round_s)} rounds")
    for name in ("saved every", "wall s", "predicted s", "rounds again", "restarts s", "digest"):
        table.add_column(name, justify="right")
    for run in runs:
        name = "round" if run.every_s == 0 else "never" if run.every_s == INTERVALS[-1] else f"{run.every_s:g} s"
        same = "equal" if run.digest == digest else "DIFFERENT"
        table.add_row(
            name,
            f"{run.wall_s:.1f}",
            f"{model.wall_s(run.every_s):.1f}",
            str(run.lost_rounds),
            f"{run.restart_s:.1f}",
            f"{run.digest[:12]} {same}",
        )
    return table


if __name__ == "__main__":
    main()
