"""A study measures what is missing, keeps what is measured, and refuses different bits: with a runner given to it."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_studies import measurements

from fedray.errors import CapacityError, ConfigError, RunFolderError
from fedray.experiment import Experiment
from fedray.scaling import study
from fedray.scaling.folder import POINTS, StudyFolder
from fedray.scaling.grid import Point, points
from fedray.scaling.measurement import Measurement
from fedray.scaling.request import Request
from fedray.scaling.stop import Stop

REQUEST = Request(clients=(100, 200), actors=(1, 2), repeats=2, rounds=3)
KNOWN = {measurement.point: measurement for measurement in measurements(REQUEST)}


class Runner:
    """Gives known measurements; stops before the point of that number."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at, self.asked = stop_at, list[Point]()

    def __call__(self, point: Point) -> Measurement | None:
        if len(self.asked) == self.stop_at:
            return None
        self.asked.append(point)
        return KNOWN[point]


def create(path: Path, request: Request = REQUEST, **settings) -> StudyFolder:
    return StudyFolder.create(path, request, Experiment(**settings), "vectorised")


def quiet(measurement: Measurement, done: int, whole: int) -> None:
    assert 1 <= done <= whole


def test_all_points_are_measured_once(tmp_path: Path):
    folder, runner = create(tmp_path / "study"), Runner()
    assert study.run(folder, runner, quiet, Stop())
    assert runner.asked == list(points(REQUEST))
    assert folder.measurements() == tuple(KNOWN[point] for point in points(REQUEST))


def test_interrupted_study_goes_on_with_what_is_missing(tmp_path: Path):
    first, second, third = Runner(stop_at=3), Runner(), Runner()
    assert not study.run(create(tmp_path / "study"), first, quiet, Stop())
    assert study.run(create(tmp_path / "study"), second, quiet, Stop())
    assert first.asked + second.asked == list(points(REQUEST))
    assert study.run(StudyFolder.open(tmp_path / "study"), third, quiet, Stop())
    assert third.asked == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_a_point_is_told_keeps_and_tells_it(number: signal.Signals, tmp_path: Path):
    stop, told = Stop(), list[int]()

    def tell(measurement: Measurement, done: int, whole: int) -> None:
        if done == 2:
            os.kill(os.getpid(), number)
        told.append(done)

    folder, runner = create(tmp_path / "study"), Runner()
    with stop.on_signals():
        assert not study.run(folder, runner, tell, stop)
    assert told == [1, 2]
    assert len(folder.measurements()) == len(runner.asked) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_a_point_is_measured_ends_it_at_once(number: signal.Signals):
    stop = Stop()
    before = signal.getsignal(number)
    with stop.on_signals(), pytest.raises(KeyboardInterrupt), stop.at_once():
        os.kill(os.getpid(), number)
    assert stop.asked
    assert signal.getsignal(number) is before


def test_signal_before_a_point_is_measured_ends_it_at_once():
    stop = Stop()
    stop.ask()
    with pytest.raises(KeyboardInterrupt), stop.at_once():
        pytest.fail("it went on")


def test_torn_line_is_measured_again(tmp_path: Path):
    folder = create(tmp_path / "study")
    study.run(folder, Runner(stop_at=3), quiet, Stop())
    path = folder.path / POINTS
    path.write_bytes(path.read_bytes()[:-40])
    assert len(folder.measurements()) == 2
    runner = Runner()
    assert study.run(folder, runner, quiet, Stop())
    assert runner.asked[0] == points(REQUEST)[2]
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 8


def test_damaged_line_is_named(tmp_path: Path):
    folder = create(tmp_path / "study")
    study.run(folder, Runner(stop_at=2), quiet, Stop())
    lines = (folder.path / POINTS).read_text().splitlines()
    (folder.path / POINTS).write_text(f"{lines[0]}\n{{}}\n")
    with pytest.raises(RunFolderError, match=r"line 2 of .* is no measured point"):
        folder.measurements()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"actors": (1, 4)}, "--actors 1,2 instead of 1,4"),
        ({"repeats": 3}, "--repeats 2 instead of 3"),
        ({"seed": 9}, "--seed 0 instead of 9"),
    ],
)
def test_another_request_in_the_same_folder_is_refused(changes: dict, words: str, tmp_path: Path):
    create(tmp_path / "study")
    with pytest.raises(ConfigError, match=words):
        create(tmp_path / "study", REQUEST.model_copy(update=changes))


def test_another_experiment_is_refused_but_not_another_place(tmp_path: Path):
    create(tmp_path / "study")
    with pytest.raises(ConfigError, match="setting threads 1 instead of 2"):
        create(tmp_path / "study", threads=2)
    create(tmp_path / "study", runs="elsewhere", tracking={"enabled": False})


def test_folder_with_something_else_is_refused(tmp_path: Path):
    (tmp_path / "photo.jpg").write_text("?")
    with pytest.raises(RunFolderError, match="is there and is no study"):
        create(tmp_path)
    with pytest.raises(RunFolderError, match="is no study folder"):
        StudyFolder.open(tmp_path)


def test_two_processes_do_not_measure_in_one_folder(tmp_path: Path):
    folder = create(tmp_path / "study")
    with folder.lock(), pytest.raises(RunFolderError, match="another process"), folder.lock():
        pass


def test_different_bits_are_an_error_that_names_the_points(tmp_path: Path):
    odd = points(REQUEST)[3]

    def measure(point: Point) -> Measurement:
        return replace(KNOWN[point], digest="e" * 64) if point == odd else KNOWN[point]

    folder = create(tmp_path / "study")
    with pytest.raises(study.DigestMismatch) as caught:
        study.run(folder, measure, quiet, Stop())
    assert odd.name in str(caught.value)
    assert f"{odd.setup.clients:,} clients gave different parameters" in str(caught.value)
    assert odd in {measurement.point for measurement in folder.measurements()}


def test_point_that_fails_keeps_the_others(tmp_path: Path):
    def measure(point: Point) -> Measurement:
        if len(folder.measurements()) == 2:
            raise CapacityError("no room")
        return KNOWN[point]

    folder = create(tmp_path / "study")
    with pytest.raises(CapacityError):
        study.run(folder, measure, quiet, Stop())
    assert len(folder.measurements()) == 2
