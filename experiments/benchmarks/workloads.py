"""The four workloads, as plain values: every runner reads them, whatever its environment."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Literal

FAST = {"fedray": 200, "stacked": 200}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One federated training: one local epoch of SGD, averages weighted by examples.

    Attributes:
        name: Short name.
        title: One line for people.
        clients: Clients of the population.
        rows: Examples of each client.
        features: Shape of one example.
        classes: Classes.
        cohort: Clients of a round.
        batch: Examples of a step.
        lr: Learning rate of SGD.
        model: "dense": dense layers with ReLU between; "cnn": the CNN of pfl-research's CIFAR-10 benchmark, no dropout.
        hidden: Widths of the hidden dense layers.
        spread: Deviation of the class prototypes; that of the noise is 1.
        seed: All data, initial parameters and cohorts follow from it.
        test_rows: Examples of the test set.
        check_rounds: Rounds after which the parameters of all runners are compared.
        rounds: Rounds of a timed run.
        more_rounds: The same for runners that are faster or slower than most.
    """

    name: str
    title: str
    clients: int
    rows: int
    features: tuple[int, ...]
    classes: int
    cohort: int
    batch: int
    lr: float
    model: Literal["dense", "cnn"] = "dense"
    hidden: tuple[int, ...] = ()
    spread: float = 0.3
    seed: int = 1
    test_rows: int = 2000
    check_rounds: int = 3
    rounds: int = 4
    more_rounds: dict[str, int] = field(default_factory=dict)

    @property
    def num_features(self) -> int:
        """Numbers in one example."""
        return prod(self.features)

    @property
    def longest(self) -> int:
        """Rounds of the longest run of any runner."""
        return max(self.rounds, self.check_rounds, *self.more_rounds.values())

    def timed_rounds(self, runner: str) -> int:
        """Rounds of a timed run of `runner`."""
        return self.more_rounds.get(runner, self.rounds)

    @property
    def data_key(self) -> str:
        """Names the data files: another key where any of their settings differs."""
        decide = (self.clients, self.rows, self.features, self.classes, self.spread, self.seed, self.test_rows)
        return f"{self.name}-{hashlib.sha256(repr(decide).encode()).hexdigest()[:10]}"

    def write(self, path: Path) -> None:
        """Writes the workload as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @staticmethod
    def read(path: Path) -> "Workload":
        """Reads what `write` wrote."""
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Workload(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


WORKLOADS = {
    "W1": Workload(
        name="W1",
        title="100 of 1,000 clients, 100 rows of 32 features, MLP 32-64-32-2, batch 10",
        clients=1000,
        rows=100,
        features=(32,),
        classes=2,
        cohort=100,
        batch=10,
        lr=0.1,
        hidden=(64, 32),
        check_rounds=5,
        rounds=20,
        more_rounds={**FAST, "flower": 6},
    ),
    "W2": Workload(
        name="W2",
        title="50 of 1,000 clients, 50 images of 3x32x32, CNN of 1,626,442 parameters, batch 10",
        clients=1000,
        rows=50,
        features=(3, 32, 32),
        classes=10,
        cohort=50,
        batch=10,
        lr=0.1,
        model="cnn",
        spread=0.5,
    ),
    "W3": Workload(
        name="W3",
        title="1,000 of 10,000 clients, 20 rows of 32 features, softmax regression, batch 20",
        clients=10_000,
        rows=20,
        features=(32,),
        classes=2,
        cohort=1000,
        batch=20,
        lr=0.1,
        rounds=20,
        check_rounds=2,
        more_rounds={**FAST, "flower": 2},
    ),
    "W4": Workload(
        name="W4",
        title="20 of 100 clients, 60 rows of 2,048 features, MLP of 25,214,986 parameters, batch 20",
        clients=100,
        rows=60,
        features=(2048,),
        classes=10,
        cohort=20,
        batch=20,
        lr=0.1,
        hidden=(4096, 4096),
        spread=0.15,
        check_rounds=2,
        rounds=3,
    ),
}
