"""The Ray backend: blocks on client actors, sums in the object store, references through the driver."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayError

from fedray.aggregation.ring import RunningSum
from fedray.errors import FedrayError
from fedray.messages import Block, BlockReport, Floats, Partial
from fedray.runtime.pool import ActorDied, Call, Pool, Ref, get
from fedray.simulation.backend import CohortResult, OnReport

_DIRECT = 8
"""Up to so many sums go straight to the driver; more are merged in groups, on actors, before."""


class RayBackend:
    """Runs clients on a pool of actors.

    A block is done when the sum that holds it was collected: an actor that dies before takes its blocks of this round
    with it, and they are trained again elsewhere, to the same bits.

    Args:
        pool: The actors.
        num_parameters: P.
    """

    def __init__(self, pool: Pool, num_parameters: int) -> None:
        self._pool, self._num_parameters = pool, num_parameters

    def run_cohort(self, parameters: Floats, blocks: Sequence[Block], on_report: OnReport) -> CohortResult:
        began, deaths = time.perf_counter(), self._pool.deaths
        shared: Ref = ray.put(parameters)
        put_done = time.perf_counter()
        cohort = _Cohort(self._pool, shared, self._units(blocks), on_report, self._num_parameters)
        cohort.run()
        seconds = {"put": put_done - began, "train": cohort.train_s, "aggregate": cohort.aggregate_s}
        return CohortResult(
            partial=cohort.total.partial(),
            reports=list(cohort.reports.values()),
            seconds=seconds,
            num_bytes=parameters.nbytes * self._pool.placement.num_actors + cohort.num_bytes,
            attempts={start: tries for start, tries in cohort.attempts.items() if tries > 1},
            deaths=self._pool.deaths - deaths,
        )

    def _units(self, blocks: Sequence[Block]) -> list[Block]:
        """What one actor trains in one call: a block, or a single client where each has an actor of its own."""
        if not self._pool.placement.own_actor:
            return list(blocks)
        return [
            replace(block, index=block.start + i, start=block.start + i, clients=block.clients[i : i + 1])
            for block in blocks
            for i in range(len(block.clients))
        ]

    def map(self, method: str, parameters: Floats, items: Sequence[Any]) -> list[Any]:
        shared: Ref = ray.put(parameters)
        answers: dict[int, Any] = {}
        self._pool.run([Call(method=method, args=(shared, item)) for item in items], answers.__setitem__)
        return [answers[position] for position in range(len(items))]

    def close(self) -> None:
        self._pool.close()


class _Cohort:
    """The state of one `run_cohort`: which units are trained, and which are safe in the sum."""

    def __init__(self, pool: Pool, shared: Ref, units: list[Block], on_report: OnReport, num_parameters: int) -> None:
        self.pool, self.shared, self.on_report = pool, shared, on_report
        self.units = {unit.index: unit for unit in units}
        self.total = RunningSum(num_parameters)
        self.reports: dict[int, BlockReport] = {}
        self.attempts: dict[int, int] = {}
        self.train_s = self.aggregate_s = 0.0
        self.num_bytes = 0

    def run(self) -> None:
        """Trains, collects, and trains again what was lost in between."""
        pending, losses = set(self.units), 0
        while pending:
            began = time.perf_counter()
            self._train(pending)
            trained = time.perf_counter()
            pending = set(self.units) - self._collect()
            losses += bool(pending)
            if losses > self.pool.retries:
                raise FedrayError(
                    f"{len(pending)} blocks were lost with their actors {losses} times in one round; "
                    "look for what kills the actors, or raise failures.retries"
                )
            self.train_s += trained - began
            self.aggregate_s += time.perf_counter() - trained

    def _train(self, pending: set[int]) -> None:
        order = sorted((self.units[index] for index in pending), key=lambda unit: (-unit.work, unit.index))
        calls = [
            Call(method="train", args=(self.shared, unit), actor=self._owner(unit), what=_name(unit)) for unit in order
        ]
        tries = self.pool.run(calls, lambda position, report: self._take(order[position], report))
        for position, unit in enumerate(order):
            self.attempts[unit.start] = self.attempts.get(unit.start, 0) + tries[position]

    def _owner(self, unit: Block) -> int | None:
        return int(unit.clients[0]) if self.pool.placement.own_actor else None

    def _take(self, unit: Block, report: BlockReport) -> None:
        first = unit.index not in self.reports
        self.reports[unit.index] = report
        if first:
            self.on_report(report)

    def _collect(self) -> set[int]:
        """Brings the actors' sums together; gives the units that are safe in the total."""
        round = next(iter(self.units.values())).round
        owners = {self._owner(unit) for unit in self.units.values()}
        actors = [actor for actor in range(self.pool.size) if actor in owners or None in owners]
        refs = {actor: self.pool.submit(actor, Call(method="collect", args=(round,))) for actor in actors}
        size = max(1, math.isqrt(len(actors) - 1) + 1) if len(actors) > _DIRECT else 1
        for start in range(0, len(actors), size):
            self._include(actors[start : start + size], refs)
        return set(self.total.partial().blocks)

    def _include(self, group: list[int], refs: dict[int, Ref]) -> None:
        """Adds the sums of a group of actors, merged by the first of them; one by one where that one died."""
        if len(group) > 1:
            merging = self.pool.submit(group[0], Call(method="merge", args=tuple(refs[actor] for actor in group)))
            try:
                return self._add(get(merging))
            except (ActorDied, RayError):
                self.pool.check()
        for actor in group:
            try:
                self._add(get(refs[actor]))
            except ActorDied:
                self.pool.replace(actor)
        return None

    def _add(self, partial: Partial) -> None:
        self.num_bytes += partial.total.nbytes
        self.total.include(partial)


def _name(unit: Block) -> str:
    clients = [str(client) for client in unit.clients[:5]]
    more = f" and {len(unit.clients) - 5} more" if len(unit.clients) > 5 else ""
    return f"the training of client{'s' if len(unit.clients) > 1 else ''} {', '.join(clients)}{more}"
