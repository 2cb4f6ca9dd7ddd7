"""What was measured at one point, and how it is kept."""

from dataclasses import asdict, dataclass
from typing import Any

from fedray.errors import RunFolderError
from fedray.report.breakdown import RoundCost, as_record, of_record
from fedray.scaling.grid import Point, Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One point, measured.

    Attributes:
        point: The point.
        rounds: What each round cost, the warm-up left out.
        digest: SHA-256 of the parameters after the last round.
        cores: Processor cores that all actors share.
        machine_cores: Processor cores of one machine.
        host: Where the driver ran.
        folder: The run folder, below the study folder.
        started: Unix time in seconds.
        ended: Unix time in seconds.
    """

    point: Point
    rounds: tuple[RoundCost, ...]
    digest: str
    cores: int
    machine_cores: int
    host: str
    folder: str
    started: float
    ended: float

    @property
    def oversubscribed(self) -> bool:
        """Whether there are more actors than cores: then its efficiency says nothing about a cluster."""
        return self.point.setup.actors > self.cores

    def to_record(self) -> dict[str, Any]:
        """Plain values, for a line of points.jsonl."""
        rounds = [as_record(cost) for cost in self.rounds]
        names = ("digest", "cores", "machine_cores", "host", "folder", "started", "ended")
        return {
            "name": self.point.name,
            **asdict(self.point.setup),
            "repeat": self.point.repeat,
            **{name: getattr(self, name) for name in names},
            "rounds": rounds,
        }


def of_line(record: dict[str, Any], where: str) -> Measurement:
    """The reverse of `Measurement.to_record`.

    Args:
        record: A line of points.jsonl.
        where: The line, for the message.

    Raises:
        RunFolderError: It lacks something.
    """
    try:
        setup = Setup(clients=int(record["clients"]), actors=int(record["actors"]), nodes=int(record["nodes"]))
        return Measurement(
            point=Point(setup=setup, repeat=int(record["repeat"])),
            rounds=tuple(of_record(entry) for entry in record["rounds"]),
            digest=str(record["digest"]),
            cores=int(record["cores"]),
            machine_cores=int(record["machine_cores"]),
            host=str(record["host"]),
            folder=str(record["folder"]),
            started=float(record["started"]),
            ended=float(record["ended"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise RunFolderError(f"{where} is no measured point; remove it, and the point is measured again") from None
