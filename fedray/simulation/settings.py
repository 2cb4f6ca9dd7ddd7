"""Settings of the round loop."""

import math
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from fedray.client.engines import EngineName
from fedray.config import Config
from fedray.simulation.share import Share


class EvaluationConfig(Config):
    """When the federation's model is evaluated, and on what."""

    every: Annotated[int, Field(ge=1)] = 1
    """Rounds between evaluations on the central test set; the last round is always evaluated."""
    clients: Annotated[int, Field(ge=1)] | Literal["all"] | None = None
    """How many clients evaluate the model on their own examples; null: none."""
    clients_every: Annotated[int, Field(ge=1)] = 10
    """Rounds between evaluations by clients; the last round is always evaluated."""
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of each client's shard kept for its own evaluation; with 0 it is evaluated on what it trains on."""
    batch_size: Annotated[int, Field(ge=1)] = 1024
    """Examples evaluated at once."""


class CheckpointConfig(Config):
    """When the server state is saved. Rounds after the last checkpoint are computed again, to the same bits."""

    every_s: Annotated[float, Field(ge=0)] = 10.0
    """Least wall time between two checkpoints in seconds; 0 saves every round, however long that takes."""
    keep: Annotated[int, Field(ge=1)] = 2
    """How many checkpoints are kept."""
    uri: str | None = None
    """Where they are kept: an fsspec URI, file:///mnt/x or s3://bucket/prefix, below which each run has a folder of its
    own; null: in the run folder. Credentials are what the file system finds in the environment."""
    timeout_s: Annotated[float, Field(gt=0)] = 300.0
    """How long the storage behind uri may take for one answer, a file written or read; then the checkpoint cannot be
    saved, and nothing more is asked of the storage until it has answered."""
    on_error: Literal["warn", "abort"] = "warn"
    """A checkpoint cannot be saved: go on with the older one and try again when the next is due, or end the run."""

    @field_validator("uri")
    @classmethod
    def _check_uri(cls, uri: str | None) -> str | None:
        parts = urlsplit(uri or "file:///x")
        if ":" in parts.netloc.rpartition("@")[0]:
            raise ValueError(f"the {parts.scheme} URI holds a password; remove it, and give it by the environment")
        if uri is not None and ("://" not in uri or "::" in uri):
            raise ValueError(f"{uri!r} is no URI of a storage; write file:///mnt/x or s3://bucket/prefix")
        if parts.scheme in ("file", "local") and (parts.netloc or not parts.path.strip("/")):
            raise ValueError(f"{uri!r} names no folder from the root on; write file:///mnt/x")
        return uri


class FailureConfig(Config):
    """What follows when a client gives no usable update, or the process that trains it is lost."""

    client_error: Literal["abort", "drop"] = "abort"
    """A client's training raises: end the run and name it, or go on without it in this round."""
    rejected_update: Literal["abort", "drop"] = "abort"
    """An update is NaN, infinite or too large: end the run and name the client, or go on without it in this round."""
    on_death: Literal["replace", "drop", "abort"] = "replace"
    """An actor dies while it trains a block. replace: another trains it, to the same bits; drop: the clients of that
    block are out of this round, and the others count for more; abort: end the run. What it had trained before, and was
    not collected, is trained again in any case."""
    retries: Annotated[int, Field(ge=0)] = 3
    """How often a block is trained again after the actor that had it died."""
    driver_restarts: Annotated[int, Field(ge=0)] = 3
    """How often a driver that died is started again without a further round; it goes on from the last checkpoint."""
    driver_silence_s: Annotated[float, Field(gt=0)] | None = 120.0
    """Seconds without a sign of life after which the driver counts as dead: its process is killed, and started again as
    one that died. An answer is such a sign, ten times a second; so is computing, where that keeps it from answering.
    null: never."""
    quarantine_after: Annotated[int, Field(ge=2)] | None = None
    """So many actors die in one round while they train one client by itself: it is not trained any more, in this round
    and all later ones; null: the run ends when retries are used up."""
    min_clients: Share | None = None
    """Usable updates that a round needs, else the run ends: a number, or a part of the cohort; null: one."""
    deadline: Annotated[float, Field(gt=0)] | Literal["auto"] | None = "auto"
    """Seconds after which an actor that trains a block counts as dead; auto: learnt from blocks that ended; null:
    never."""


class BaselinesConfig(Config):
    """What the federation is compared with: the same model, without a federation."""

    central: bool = False
    """Train on all examples in one place."""
    local: bool = False
    """Every client trains alone, on its own examples."""
    local_clients: Annotated[int, Field(ge=1)] | None = None
    """How many clients train alone; null: all."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Passes over the examples; null: as many as a client makes in the federation, on average."""


class RingConfig(Config):
    """How updates become integers."""

    fraction_bits: Annotated[int, Field(ge=8, le=52)] = 30
    """Bits behind the point of an encoded, weighted update: more bits are finer, fewer allow larger updates."""


_CLIENTS, _PASSES = 25, 5000.0
"""What a stack should hold at least: below, calls of torch take longer than their arithmetic."""


class BlockConfig(Config):
    """How a cohort is cut into blocks; a part of the experiment, never of the placement."""

    size: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Clients in a block."""

    def resolve(self, cohort: int, engine: EngineName, passes: float, rows: int = 1) -> int:
        """Clients in a block.

        Sequential training: at least 16 blocks where there are clients enough. Stacked training is faster the more
        it does at once: a small cohort has only 4 blocks, of at least 25 clients and 5,000 examples where possible.
        On a GPU a block fills a stack, since rows without a client take as long as others.

        Args:
            cohort: Clients in a round.
            engine: What trains them.
            passes: Examples that a client trains on in a round, on average, each counted as often as it is seen.
            rows: Rows of every stack, where they do not follow the clients.
        """
        if isinstance(self.size, int):
            return self.size
        if engine == "sequential":
            return max(1, min(64, cohort // 16))
        if rows > 1:
            return min(rows, cohort)
        enough = max(_CLIENTS, math.ceil(_PASSES / passes))
        return max(min(enough, -(-cohort // 4)), min(max(256, enough), cohort // 16))
