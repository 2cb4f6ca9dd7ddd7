"""`fedray scale`: what it reads from the command line, and what it prints."""

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from fedray import experiment as experiments
from fedray.config import parse
from fedray.errors import ConfigError, TrackingError
from fedray.experiment import Experiment
from fedray.scaling import conduct, cost, tables
from fedray.scaling.folder import StudyFolder
from fedray.scaling.grid import points, setups
from fedray.scaling.measurement import Measurement
from fedray.scaling.request import WARM_UP, Request, Target, counts, target
from fedray.scaling.study import DigestMismatch
from fedray.tracking.study import sync_study

DONE, MISMATCH, INTERRUPTED = 0, 1, 130


def begin(
    file: Path,
    overrides: Sequence[str],
    clients: str,
    actors: str,
    nodes: str,
    repeats: int,
    rounds: int | None,
    mode: str,
    seed: int,
) -> tuple[Experiment, Request]:
    """What a new study is asked.

    Raises:
        ConfigError: Something about it is wrong.
    """
    experiment = experiments.load(file, overrides)
    rounds = experiment.rounds if rounds is None else rounds
    if rounds <= WARM_UP:
        raise ConfigError(
            f"rounds is {rounds}, but the first {WARM_UP} of a point are warm-up and do not count; "
            f"give --rounds {WARM_UP + 3} or more"
        )
    request = parse(
        Request,
        {
            "clients": counts(clients, "--clients"),
            "actors": counts(actors, "--actors"),
            "nodes": counts(nodes, "--nodes"),
            "repeats": repeats,
            "rounds": rounds,
            "mode": mode,
            "seed": seed,
        },
    )
    setups(request)
    return experiment, request


def again(path: Path, asked: object) -> tuple[Experiment, Request, Path]:
    """What a study was asked that goes on.

    Args:
        path: The study folder.
        asked: Whatever was asked anew, which is refused.

    Raises:
        ConfigError: Something was asked anew.
        RunFolderError: The folder is no study.
    """
    if asked:
        raise ConfigError(
            f"--resume {path} goes on with the study as it was begun; leave out the experiment file, --clients, "
            "--actors, --out, --set and --address"
        )
    folder = StudyFolder.open(path)
    return folder.experiment(), folder.request(), path


def targets(texts: Sequence[str]) -> list[Target]:
    """What is to be predicted.

    Raises:
        ConfigError: A text is no target.
    """
    return [target(text) for text in texts]


def default_folder(experiment: Experiment) -> Path:
    """A new folder below the experiment's run folders."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return Path(experiment.runs) / f"{experiment.name}-scale-{stamp}"


def run(
    console: Console,
    experiment: Experiment,
    request: Request,
    path: Path,
    wanted: Sequence[Target],
    with_oversubscribed: bool,
) -> int:
    """Runs a study, or goes on with it, and prints its results.

    Args:
        console: Where to.
        experiment: What each point runs.
        request: The grid.
        path: The study folder.
        wanted: What to predict.
        with_oversubscribed: Whether setups with more actors than cores are fitted too.

    Returns:
        The exit status.
    """
    say = _Sayer(console)
    grid = setups(request)
    say(
        f"study        {experiment.name}: {len(points(request))} runs of {request.rounds} rounds for {len(grid)} "
        f"setups; the first {WARM_UP} rounds of each are warm-up"
    )
    try:
        complete = conduct.measure_all(experiment, request, path, say, say.point)
        if not complete:
            done, whole = len(StudyFolder(path).measurements()), len(points(request))
            say(f"stopped after {done} of {whole} points; go on with: fedray scale --resume {path}")
            return INTERRUPTED
        folder = StudyFolder.open(path)
        tables.show(console, conduct.conclude(folder, wanted, with_oversubscribed))
    except DigestMismatch as error:
        say(f"error        {error}")
        return MISMATCH
    if experiment.tracking.enabled:
        try:
            say(sync_study(path))
        except TrackingError as error:
            say(f"warning      {error}".replace("`fedray sync`", f"`fedray sync {path}`"))
    say(f"study folder {path}")
    return DONE


class _Sayer:
    """Prints a line for each thing that happens."""

    def __init__(self, console: Console) -> None:
        self._console, self._seconds = console, list[float]()

    def __call__(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def point(self, measurement: Measurement, done: int, whole: int) -> None:
        """One measured point, and how long the rest will take."""
        found = cost.of_measurements([measurement])
        self._seconds.append(measurement.ended - measurement.started)
        left_s = (whole - done) * sum(self._seconds) / len(self._seconds)
        left = f"  about {left_s / 60:.0f} min left" if left_s > 90 else ""
        crowded = "  oversubscribed" if measurement.oversubscribed else ""
        name = f"{measurement.point.setup}, repeat {measurement.point.repeat}"
        self(
            f"point {done:>3}/{whole}  {name:<38} {1000 * found.round_s:>9,.1f} ms a round "
            f"{found.clients_per_s:>9,.0f} clients/s{crowded}{left}"
        )
