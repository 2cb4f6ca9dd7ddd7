"""From settings to the fault plan."""

from collections.abc import Generator, Sequence
from typing import Any

from fedray import seeds
from fedray.errors import ConfigError
from fedray.simulation.faults.plan import NO_FAULTS, FaultPlan
from fedray.simulation.faults.settings import ClientFault, FaultConfig, FaultFile, ProcessFault
from fedray.simulation.faults.table import read
from fedray.simulation.share import nearest

Values = dict[str, Any]
_NOBODY: Values = {"client": -1, "block": -1, "num": 0, "share": 0.0, "chance": 1.0}


def expand(configs: Sequence[FaultConfig | FaultFile], seed: int, rounds: int, num_actors: int) -> FaultPlan:
    """The plan of a run.

    Args:
        configs: What may go wrong.
        seed: The experiment's seed.
        rounds: Rounds of training; the plan of the first rounds does not depend on it.
        num_actors: Client actors, of which settings may take a part; numbers of actors do not depend on it.

    Raises:
        ConfigError: A table of faults cannot be read.
    """
    if not configs:
        return NO_FAULTS
    all_of_them = [
        fault for config in configs for fault in (read(config) if isinstance(config, FaultFile) else [config])
    ]
    dues = [
        due
        for row, config in enumerate(all_of_them)
        for due in _dues(config, row, seed=seed, rounds=rounds, num_actors=num_actors)
    ]
    return FaultPlan.of(rounds, dues)


def check(plan: FaultPlan, num_clients: int) -> None:
    """Refuses clients that are not there.

    Raises:
        ConfigError: A fault names one.
    """
    largest = int(plan.columns["client"].max(initial=-1))
    if largest >= num_clients:
        raise ConfigError(
            f"a fault of round {plan.row(int(plan.columns['client'].argmax())).round} hits client {largest}, but the "
            f"population has {num_clients} clients, from 0 to {num_clients - 1}; change clients in faults"
        )


def _dues(config: FaultConfig, row: int, *, seed: int, rounds: int, num_actors: int) -> Generator[Values]:
    same: Values = {"kind": config.kind, "at": config.place, "how": "", "seconds": 0.0, "amount": 0.0, "repeat": False}
    for number, round in enumerate(config.due(seed, row, rounds)):
        key = seeds.keys(seed, f"fault {row}", round, [number if config.mean_rounds is not None else 0])
        for target in _targets(config, key, num_actors):
            yield {**same, **config.details, **_NOBODY, **target, "round": round, "draw": int(key[0])}


def _targets(config: FaultConfig, key: seeds.Words, num_actors: int) -> list[Values]:
    """Whom it hits in one round, as far as that is known before the round."""
    chance = 1.0 if config.rate is None else config.rate
    if isinstance(config, ClientFault | ProcessFault) and config.clients is not None:
        clients = list(dict.fromkeys(config.clients))
        return [
            {"client": client} for client, hit in zip(clients, _hits(key, len(clients), chance), strict=True) if hit
        ]
    if isinstance(config, ClientFault):
        return [{"share": config.fraction, "chance": chance}]
    if isinstance(config, ProcessFault) and isinstance(config.blocks, float):
        return [{"share": config.blocks, "chance": chance}]
    if isinstance(config, ProcessFault) and config.block is None:
        wanted = config.blocks if config.actors is None else config.actors
        num = sum(_hits(key, nearest(wanted or 0, num_actors), chance))
        return [{"num": num}] if num else []
    block = config.block if isinstance(config, ProcessFault) else None
    return [{"block": -1 if block is None else block}] if _hits(key, 1, chance)[0] else []


def _hits(key: seeds.Words, num: int, chance: float) -> list[bool]:
    """Which of some targets are hit, each with the same probability."""
    return (seeds.uniforms(seeds.split(key, 3), num)[0] < chance).tolist()
