"""Settings of faults: what goes wrong, when, and to whom."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fedray.config import Choices, Config
from fedray.simulation.faults.when import When
from fedray.simulation.share import Share

Clients = tuple[Annotated[int, Field(ge=0)], ...]


class FaultConfig(When):
    """Something that goes wrong on purpose."""

    kind: str
    """What goes wrong."""

    @property
    def place(self) -> Literal["before", "during", "after"]:
        """When in the round, or in the training of a block."""
        return "during"

    @property
    def details(self) -> dict[str, Any]:
        """Values of `Fault` that only some kinds have: how, seconds, amount, repeat."""
        return {}


class ProcessFault(FaultConfig):
    """Happens to the process that trains a block: exactly one of clients, actors, blocks and block.

    A fault of an actor is bound to a block of the round, drawn from the seed: the process that trains that block. So it
    means the same with one actor, with forty, and without any.
    """

    clients: Clients | None = None
    """The processes that train these clients, whenever they are in the cohort."""
    actors: Share | None = None
    """So many actors, or this part of all actors: as many blocks, at most all of them."""
    blocks: Share | None = None
    """So many blocks of the round, or this part of them."""
    block: Annotated[int, Field(ge=0)] | None = None
    """The block with this index."""
    repeat: bool = False
    """With clients: at every attempt, not only once in a round."""

    @model_validator(mode="after")
    def _one_target(self) -> "ProcessFault":
        _exactly_one(self, ("clients", "actors", "blocks", "block"))
        if self.repeat and self.clients is None:
            raise ValueError("repeat goes with clients; set clients, or remove repeat")
        return self

    @property
    def details(self) -> dict[str, Any]:
        return {"repeat": self.repeat}


class Kill(ProcessFault):
    """The process is killed (SIGKILL)."""

    kind: Literal["kill"] = "kill"
    at: Literal["before", "during", "after"] = "during"
    """Before the training of the block, during it, or after it, when the sum was not collected yet."""

    @property
    def place(self) -> Literal["before", "during", "after"]:
        return self.at


class Hang(ProcessFault):
    """The process stops for good, without ending (SIGSTOP)."""

    kind: Literal["hang"] = "hang"


class ExhaustMemory(ProcessFault):
    """The process takes memory until it is killed or refused."""

    kind: Literal["exhaust_memory"] = "exhaust_memory"
    bytes: Annotated[int, Field(ge=1)]
    """How much it takes."""

    @property
    def details(self) -> dict[str, Any]:
        return {"repeat": self.repeat, "amount": float(self.bytes)}


class LoseResult(ProcessFault):
    """What the process answers is lost."""

    kind: Literal["lose_result"] = "lose_result"

    @property
    def place(self) -> Literal["before", "during", "after"]:
        return "after"


class Slow(ProcessFault):
    """The process gets less of its processor for a while."""

    kind: Literal["slow"] = "slow"
    factor: Annotated[float, Field(gt=1)]
    """How many times longer its work takes."""
    seconds: Annotated[float, Field(gt=0)]
    """For how long."""

    @property
    def details(self) -> dict[str, Any]:
        return {"repeat": self.repeat, "amount": self.factor, "seconds": self.seconds}


class DelayResult(ProcessFault):
    """What the process answers comes late."""

    kind: Literal["delay_result"] = "delay_result"
    seconds: Annotated[float, Field(gt=0)]
    """How late."""

    @property
    def place(self) -> Literal["before", "during", "after"]:
        return "after"

    @property
    def details(self) -> dict[str, Any]:
        return {"repeat": self.repeat, "seconds": self.seconds}


class ClientFault(FaultConfig):
    """Happens in the training of a client itself, wherever it runs: exactly one of clients and fraction."""

    clients: Clients | None = None
    """These clients, whenever they are in the cohort."""
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """This part of the cohort, drawn anew each time."""

    @model_validator(mode="after")
    def _one_target(self) -> "ClientFault":
        _exactly_one(self, ("clients", "fraction"))
        return self


class TrainingError(ClientFault):
    """The client's training raises."""

    kind: Literal["exception"] = "exception"


class Corrupt(ClientFault):
    """The client's update is damaged before it is summed."""

    kind: Literal["corrupt"] = "corrupt"
    how: Literal["nan", "inf", "bit_flip", "shape"]
    """One parameter becomes NaN or infinite, one of its bits flips, or the update has the wrong length."""
    bit: Annotated[int, Field(ge=0, le=31)] = 30
    """bit_flip: which bit of the float32; 31 is the sign, 23 to 30 are the exponent."""

    @property
    def place(self) -> Literal["before", "during", "after"]:
        return "after"

    @property
    def details(self) -> dict[str, Any]:
        return {"how": self.how, "amount": float(self.bit) if self.how == "bit_flip" else 0.0}


class RoundFault(FaultConfig):
    """Happens to the run."""

    at: Literal["before", "during", "after"] = "before"
    """before: while the round trains, after its first block; during: when its updates are summed up; after: when it is
    recorded, before its checkpoint."""

    @property
    def place(self) -> Literal["before", "during", "after"]:
        return self.at


class KillNode(RoundFault):
    """A node of the cluster is killed."""

    kind: Literal["kill_node"] = "kill_node"


class KillDriver(RoundFault):
    """The driver is killed."""

    kind: Literal["kill_driver"] = "kill_driver"


class TrackingAway(RoundFault):
    """The delivery to MLflow stands still for a while, as if its server did not answer."""

    kind: Literal["tracking_away"] = "tracking_away"
    seconds: Annotated[float, Field(gt=0)]
    """For how long."""

    @property
    def details(self) -> dict[str, Any]:
        return {"seconds": self.seconds}


class StorageFull(RoundFault):
    """The storage of the next checkpoint is full in the middle of it."""

    kind: Literal["storage_full"] = "storage_full"


class StorageError(RoundFault):
    """The storage of the next checkpoint reports an error in the middle of it."""

    kind: Literal["storage_error"] = "storage_error"


class RestartControl(RoundFault):
    """Ray's control service (GCS) is killed and started again."""

    kind: Literal["restart_control"] = "restart_control"


class FaultFile(Config):
    """Faults from a table: one row, one fault."""

    kind: Literal["file"] = "file"
    file: str
    """CSV or Parquet. Columns round, kind and client, and any setting of the kind: block, actors, at, seconds, how."""


KINDS: dict[str, type[FaultConfig]] = {
    str(cls.model_fields["kind"].default): cls
    for cls in (
        Kill,
        Hang,
        Slow,
        ExhaustMemory,
        LoseResult,
        DelayResult,
        TrainingError,
        Corrupt,
        KillNode,
        KillDriver,
        TrackingAway,
        StorageFull,
        StorageError,
        RestartControl,
    )
}
FAULTS = Choices("fault", {**KINDS, "file": FaultFile}, key="kind")
AnyFault = Annotated[FaultConfig | FaultFile, FAULTS]
"""The type of a setting that chooses a fault."""


def _exactly_one(config: FaultConfig, ways: tuple[str, ...]) -> None:
    given = [way for way in ways if getattr(config, way) is not None]
    if len(given) != 1:
        what = " and ".join(given) + " are all set" if given else "nothing says whom it hits"
        raise ValueError(f"{what}; set exactly one of {', '.join(ways)}")
