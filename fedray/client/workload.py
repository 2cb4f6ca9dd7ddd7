"""What a host must know to train and evaluate clients: the same value on every host, and nothing about placement."""

from dataclasses import dataclass

from fedray.aggregation.ring import Ring
from fedray.client.device import DeviceName
from fedray.client.engines import EngineChoice
from fedray.client.training import TrainingConfig
from fedray.compression.settings import CompressionConfig
from fedray.messages import DataSpec
from fedray.models.base import ModelConfig
from fedray.models.tasks import Task

_NO_COMPRESSION = CompressionConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The client side of an experiment.

    Attributes:
        model: The model's settings.
        spec: What the data is.
        task: Loss and metrics.
        training: Local training of one round.
        ring: How updates are encoded.
        engine: How blocks of clients are trained.
        seed: The experiment's seed.
        holdout: Part of every shard that is kept for evaluation.
        evaluation_batch: Examples evaluated at once.
        num_threads: torch threads of a host; a part of the experiment, because it can change the last bits.
        device: Where clients train and evaluate; a part of the experiment for the same reason.
        compression: What is done to updates on their way to the server.
    """

    model: ModelConfig
    spec: DataSpec
    task: Task
    training: TrainingConfig
    ring: Ring
    engine: EngineChoice
    seed: int
    holdout: float
    evaluation_batch: int
    num_threads: int
    device: DeviceName = "cpu"
    compression: CompressionConfig = _NO_COMPRESSION
