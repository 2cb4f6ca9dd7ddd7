"""Blocks and plans of faults, made by hand."""

from pathlib import Path
from typing import Any

import numpy as np

from fedray.config import Config, parse
from fedray.messages import Block, Fault
from fedray.simulation.faults.bind import RoundFaults
from fedray.simulation.faults.expand import expand
from fedray.simulation.faults.plan import FaultPlan
from fedray.simulation.faults.settings import AnyFault


class Holder(Config):
    faults: tuple[AnyFault, ...]


def plan(*faults: dict[str, Any], seed: int = 5, rounds: int = 20, num_actors: int = 10) -> FaultPlan:
    return expand(parse(Holder, {"faults": faults}).faults, seed, rounds, num_actors)


def blocks(num: int = 8, size: int = 3, first: int = 100) -> tuple[Block, ...]:
    """Block b has the clients first + size * b and those after it."""
    return tuple(
        Block(
            round=1,
            index=index,
            start=size * index,
            clients=first + np.arange(size * index, size * (index + 1)),
            work=1.0,
        )
        for index in range(num)
    )


def faults_of(round_faults: RoundFaults) -> list[Fault]:
    return [fault for block in round_faults.blocks for fault in block.faults]


def rounds_of(of: FaultPlan) -> list[int]:
    return of.columns["round"].tolist()


def csv(folder: Path, text: str) -> dict[str, str]:
    path = folder / "faults.csv"
    path.write_text(text)
    return {"kind": "file", "file": str(path)}
