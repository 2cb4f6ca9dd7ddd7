"""Measurements as a known model would give them, with noise where wanted."""

import numpy as np

from fedray.report.breakdown import RoundCost
from fedray.scaling.cost import Load
from fedray.scaling.grid import Setup, points
from fedray.scaling.measurement import Measurement
from fedray.scaling.model import CostModel
from fedray.scaling.request import WARM_UP, Request

TRUTH = CostModel(
    seconds={
        "train_block": 2e-3,
        "train_example": 5e-6,
        "crowding": 1e-6,
        "train_fixed": 3e-3,
        "turn": 5e-4,
        "transfer_fixed": 1e-3,
        "transfer_actor": 8e-4,
        "driver_fixed": 2e-3,
        "driver_client": 1.5e-6,
    },
    longest=1.0,
)
REQUEST = Request(clients=(100, 1000, 10_000), actors=(1, 2, 4), repeats=3, rounds=7, seed=5)


def blocks_of(clients: int) -> int:
    return -(-clients // max(min(25, -(-clients // 4)), min(256, clients // 16)))


def load(setup: Setup, cores: int) -> Load:
    slots = min(setup.actors, cores)
    return Load(
        clients=setup.clients,
        examples=100 * setup.clients,
        blocks=blocks_of(setup.clients),
        actors=setup.actors,
        slots=slots,
        crowding=min(1.0, (slots - 1) / (cores - 1)) if cores > 1 else 0.0,
    )


def measurements(
    request: Request = REQUEST, cores: int = 4, noise: float = 0.0, truth: CostModel = TRUTH, seed: int = 0
) -> list[Measurement]:
    """All points of a study; noise is the relative deviation of every component in every round."""
    generator = np.random.default_rng(seed)
    found: list[Measurement] = []
    for number, point in enumerate(points(request)):
        setup, rounds = point.setup, list[RoundCost]()
        work, s = load(setup, cores), truth.seconds
        for round in range(WARM_UP + 1, request.rounds + 1):
            train, transfer, driver = 1 + noise * generator.standard_normal(3)
            parts = truth.predict(work)
            busy_s = (
                s["train_block"] * work.blocks
                + s["train_example"] * work.examples
                + s["crowding"] * work.examples * work.crowding
            )
            seconds = {
                "sample": 0.1 * driver * parts.driver_s,
                "put": 0.25 * transfer * parts.transfer_s,
                "train": train * parts.train_s,
                "aggregate": 0.75 * transfer * parts.transfer_s,
                "server": 0.9 * driver * parts.driver_s,
                "evaluate": 3.0 if round == request.rounds else 0.0,
            }
            rounds.append(
                RoundCost(
                    round=round,
                    wall_s=sum(seconds.values()),
                    seconds=seconds,
                    bytes={"put": 50_000, "aggregate": 100_000 * setup.actors},
                    cohort=setup.clients,
                    examples=100 * setup.clients,
                    busy_s=train * busy_s,
                    slots=work.slots,
                    blocks=work.blocks,
                    longest_block_s=train * busy_s / work.blocks,
                )
            )
        found.append(
            Measurement(
                point=point,
                rounds=tuple(rounds),
                digest=f"{setup.clients:064x}",
                cores=cores,
                machine_cores=cores,
                host="edge-1",
                folder=f"runs/{point.name}",
                started=1_700_000_000.0 + 10 * number,
                ended=1_700_000_008.0 + 10 * number,
            )
        )
    return found
