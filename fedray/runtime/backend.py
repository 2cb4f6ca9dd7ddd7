"""The Ray backend: blocks on client actors, sums in the object store, references through the driver."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import ray
from ray.exceptions import RayError

from fedray.aggregation.ring import RunningSums
from fedray.client.host import Work
from fedray.errors import FedrayError, RoundFailed
from fedray.messages import Block, BlockReport, Floats, Partial
from fedray.runtime import tree
from fedray.runtime.answers import Ref, get
from fedray.runtime.dispatch import Call, Dispatch, Loose, Loss
from fedray.runtime.losses import LONGEST_S, Losses, Seen
from fedray.runtime.lost import ActorDied
from fedray.runtime.pool import Pool
from fedray.simulation.backend import Answers, Beside, CohortResult, OnReport, nothing
from fedray.simulation.blocks import part
from fedray.simulation.faults.kinds import PROCESS
from fedray.simulation.kept import Kept, by_client, rows
from fedray.simulation.settings import FailureConfig

_FAILURES = FailureConfig()
_REMEMBERED = 100
"""Blocks of which it is remembered how long they took."""
_COLLECTIONS = 3
"""How often the sums of a round may be lost with their actors after the training, at least."""
_CALL_S = 0.02
"""Blocks are trained together in calls of about this length, as far as that leaves work for every actor."""
_INLINE_BYTES = 50_000
"""Parameters up to this size travel within each call; larger ones are put into the object store once."""


class RayBackend:
    """Runs clients on a pool of actors.

    A block is done when the sum that holds it was collected: an actor that dies before takes its blocks of this round
    with it, and they are trained again elsewhere, to the same bits.

    Args:
        pool: The actors.
        num_parameters: P.
        failures: What follows when an actor is lost.
    """

    def __init__(self, pool: Pool, num_parameters: int, failures: FailureConfig = _FAILURES) -> None:
        self._pool, self._num_parameters, self._failures = pool, num_parameters, failures
        self._dispatch = Dispatch(pool)
        self._shared: tuple[Floats, Any] | None = None
        self._seen = Seen(maxlen=_REMEMBERED)
        self._work_s = 0.0

    def run_cohort(
        self,
        parameters: Floats,
        blocks: Sequence[Block],
        on_report: OnReport,
        beside: Beside = nothing,
        kept: Kept | None = None,
    ) -> CohortResult:
        began, deaths = time.perf_counter(), self._pool.deaths
        shared = self._share(parameters)
        put = time.perf_counter()
        calls = self._calls(blocks)
        losses = Losses(self._failures, blocks, self._seen, own_actor=self._pool.placement.own_actor)
        if losses.struck:
            self._pool.chaos.start_on(self._pool.nodes())
        cohort = _Cohort(self._dispatch, shared, blocks, calls, on_report, self._num_parameters, losses, kept)
        scheduled = time.perf_counter()
        try:
            cohort.begin()
            beside()
            cohort.run()
        except RoundFailed as error:
            raise RoundFailed(error.sentence, losses.events(self._pool.chaos.strikes())) from None
        ended = time.perf_counter()
        reports = list(cohort.reports.values())
        busy_s = sum(report.seconds for report in reports)
        self._work_s = busy_s / max(1.0, sum(block.work for block in blocks))
        copies = len(calls) if shared is parameters else len(set(self._pool.nodes()) - {""})
        faults = losses.events(self._pool.chaos.strikes() if losses.struck else ())
        aggregate_s = cohort.aggregate_s + time.perf_counter() - ended
        return CohortResult(
            partials=cohort.sums.partials(),
            reports=reports,
            seconds={
                "put": put - began,
                "schedule": scheduled - put,
                "train": cohort.train_s,
                "aggregate": aggregate_s,
            },
            num_bytes={"put": parameters.nbytes * copies, "aggregate": cohort.num_bytes},
            attempts=losses.attempts,
            dropped=losses.dropped,
            faults=faults,
            deaths=self._pool.deaths - deaths,
            slots=self._dispatch.num_slots,
            kept=cohort.kept,
        )

    def _share(self, parameters: Floats) -> Any:
        """The argument of calls that need the parameters: themselves, or where they lie in the object store."""
        if parameters.nbytes <= _INLINE_BYTES:
            return parameters
        if self._shared is None or self._shared[0] is not parameters:
            self._shared = (parameters, ray.put(parameters))
        return self._shared[1]

    def _calls(self, blocks: Sequence[Block]) -> list[tuple[Block, ...]]:
        """What actors train in one call each: a block, some where they are short, or one client if it has an actor."""
        if self._pool.placement.own_actor:
            num_blocks = len(blocks)
            return [(part(block, [client], num_blocks),) for block in blocks for client in block.clients.tolist()]
        struck = [block for block in blocks if _is_struck(block)]
        calm = [block for block in blocks if not _is_struck(block)]
        by_work = sorted(calm, key=lambda block: (-block.work, block.index))
        work = sum(block.work for block in blocks)
        wanted = math.ceil(work * self._work_s / _CALL_S) if self._work_s else len(blocks)
        num_calls = min(len(calm), max(self._dispatch.num_slots, wanted))
        return [*((block,) for block in struck), *(tuple(by_work[call::num_calls]) for call in range(num_calls))]

    def ask(self, method: str, parameters: Floats, items: Sequence[Any]) -> Answers:
        return _Asked(self._dispatch, method, self._share(parameters), items)

    def close(self) -> None:
        self._pool.close()


class _Asked:
    """Calls whose answers may come while a cohort trains."""

    def __init__(self, dispatch: Dispatch, method: str, shared: Any, items: Sequence[Any]) -> None:
        self._dispatch, self._num_items = dispatch, len(items)
        self._answers: dict[int, Any] = {}
        for position, item in enumerate(items):
            dispatch.others.append(self._call(method, shared, position, item))
        dispatch.assign()

    def _call(self, method: str, shared: Any, position: int, item: Any, attempts: int = 1) -> Call:
        def take(answer: Any, actor: int) -> None:
            self._answers[position] = answer

        def again(loss: Loss) -> list[Call]:
            retries = self._dispatch.pool.retries
            if attempts > retries:
                raise FedrayError(
                    f"{method} lost its actor {attempts} times ({loss.cause}); look for what kills the actors, or "
                    "raise failures.retries"
                )
            return [self._call(method, shared, position, item, attempts + 1)]

        return Call(
            method=method,
            args=lambda actor: (shared, item),
            on_answer=take,
            on_lost=again,
            limit_s=LONGEST_S,
            is_small=not isinstance(shared, ray.ObjectRef),
        )

    @property
    def ready(self) -> bool:
        return len(self._answers) == self._num_items

    def wait(self) -> list[Any]:
        self._dispatch.run(lambda: self.ready)
        return [self._answers[position] for position in range(self._num_items)]


class _Cohort:
    """The state of one `run_cohort`: what is to be trained, what is safe in the sum, and what went wrong.

    A unit is a block, or a part of one that was divided to find out which client kills its actor.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        shared: Any,
        blocks: Sequence[Block],
        calls: Sequence[tuple[Block, ...]],
        on_report: OnReport,
        num_parameters: int,
        losses: Losses,
        kept: Kept | None,
    ) -> None:
        self._num_parameters, self._kept_before, self._kept = num_parameters, kept, dict[int, Kept]()
        self.dispatch, self.pool, self.shared, self.on_report = dispatch, dispatch.pool, shared, on_report
        self.calls, self.round, self.losses = calls, blocks[0].round, losses
        self.sums = RunningSums(num_parameters)
        self.units = {unit.index: unit for blocks in calls for unit in blocks}
        self.reports: dict[int, BlockReport] = {}
        self.train_s = self.aggregate_s = 0.0
        self.num_bytes = 0
        self._training: set[int] = set()
        self._holding: dict[int, None] = {}
        """Actors that hold sums which were not collected yet, in order."""

    @property
    def kept(self) -> Kept:
        """What the clients of all reports keep."""
        return {client: row for block in self.reports for client, row in self._kept[block].items()}

    def begin(self) -> None:
        """Has actors begin to train."""
        self._began = time.perf_counter()
        self._hand_out(self.calls)
        self.dispatch.assign()

    def run(self) -> None:
        """Has all trained, collects, and has trained again what was lost in between."""
        losses = 0
        while self._training:
            self.dispatch.run(lambda: not self._training, self._collect)
            trained = time.perf_counter()
            self.dispatch.run(lambda: not self.dispatch.loose)
            safe = {block for partial in self.sums.partials() for block in partial.blocks}
            pending = [(unit,) for unit in self.units.values() if unit.index not in safe]
            losses += bool(pending)
            if losses > max(self.pool.retries, _COLLECTIONS):
                raise FedrayError(
                    f"{len(pending)} blocks were lost with their actors {losses} times in one round; "
                    "look for what kills the actors, or raise failures.retries"
                )
            self._hand_out(pending)
            now = time.perf_counter()
            self.train_s, self.aggregate_s = self.train_s + trained - self._began, self.aggregate_s + now - trained
            self._began = now

    def _hand_out(self, pending: Sequence[tuple[Block, ...]]) -> None:
        self._training = {unit.index for units in pending for unit in units}
        self.dispatch.urgent.extend(self._call(units) for units in pending)

    def _call(self, units: tuple[Block, ...]) -> Call:
        struck = any(_is_struck(unit) for unit in units)
        return Call(
            method="train_struck" if struck else "train",
            args=lambda actor: self._args(units, actor, struck),
            on_answer=lambda work, actor: self._take(units, work, actor),
            on_lost=lambda loss: self._lose(units, loss),
            limit_s=self.losses.limit_s(units),
            actor=self.losses.own_actor(units),
            is_small=not struck and self._is_small and self._kept_before is None,
        )

    def _args(self, units: tuple[Block, ...], actor: int, struck: bool) -> tuple[Any, ...]:
        kept = rows(self._kept_before, units, self._num_parameters)
        args = (self.shared, units, self._hands_over(actor), kept, self.round)
        place = self.pool.place(actor)
        return (*args, [self.pool.chaos.on(place.node)]) if struck and place is not None else args

    @property
    def _is_small(self) -> bool:
        """Whether parameters and sums travel with the calls."""
        return not isinstance(self.shared, ray.ObjectRef)

    def _hands_over(self, actor: int) -> bool:
        """Whether this seems the last call for its actor, and its sum goes to the driver anyway."""
        last = self.pool.placement.own_actor or len(self.dispatch.urgent) <= self.dispatch.num_free
        last = last and tree.is_flat(self.pool.nodes(), small=self._is_small)
        if last:
            self._holding.pop(actor, None)
        else:
            self._holding[actor] = None
        return last

    def _take(self, units: tuple[Block, ...], work: Work, actor: int) -> None:
        place, now = self.pool.place(actor), time.time()
        kept = by_client(work.kept, work.reports)
        for unit, report in zip(units, work.reports, strict=True):
            first = report.block not in self.reports
            report = replace(report, actor=actor, node="" if place is None else place.node, time=now)
            self.reports[report.block] = report
            self._training.discard(report.block)
            self.units[report.block] = self.losses.trained(unit, report)
            self._kept[report.block] = {c: kept[c] for c in unit.clients.tolist() if c in kept}
            if first:
                self.on_report(report)
        self._add(work.partials)

    def _lose(self, units: tuple[Block, ...], loss: Loss) -> list[Call]:
        """Does what the failure policy says; gives what is to be trained instead."""
        self._holding.pop(loss.actor, None)
        if not loss.died:  # what it has summed is not known: behind all it was asked to do, it starts from nothing
            self.pool.forget(loss.actor, self.round)
        again = list[Block]()
        for unit in units:
            parts = self.losses.lost(unit, loss, alone=len(units) == 1)
            del self.units[unit.index]
            self._training.discard(unit.index)
            self.reports.pop(unit.index, None)
            self.units |= {new.index: new for new in parts}
            self._training |= {new.index for new in parts}
            again += parts
        return [self._call((unit,)) for unit in again]

    def _collect(self) -> None:
        """Asks for the sums right behind the last training, so that an actor that is done hands its own over."""
        if not self._holding:
            return
        asked = {actor: self.pool.current(actor) for actor in self._holding}
        nodes, small = self.pool.nodes(), self._is_small
        submit = self.pool.submit_small if tree.is_flat(nodes, small=small) and small else self.pool.submit
        leaves = {actor: submit(actor, "collect", self.round) for actor in self._holding}
        self._holding.clear()
        for merged in tree.merge(self.pool, leaves, nodes, small=small):
            take, apart = partial(self._include, merged, asked), partial(self._take_apart, merged, asked)
            self.dispatch.loose[merged.ref] = self._loose(take, apart)

    def _loose(self, on_there: Callable[[], None], on_late: Callable[[], None]) -> Loose:
        return Loose(on_there=on_there, on_late=on_late, limit_s=self.losses.collect_limit_s)

    def _include(self, merged: tree.Sum, asked: Mapping[int, int]) -> None:
        """Adds a sum; where it is lost, or some of it is trained again, those that it was made of, one by one.

        Args:
            merged: The sum.
            asked: Whose sum was at the position of each actor when it was asked for it.
        """
        if all(self.pool.current(actor) == asked[actor] for actor in merged.leaves):
            try:
                return self._add(get(merged.ref))
            except (ActorDied, RayError):
                self.pool.check()
        return self._take_apart(merged, asked)

    def _take_apart(self, merged: tree.Sum, asked: Mapping[int, int]) -> None:
        """Waits for each of the sums that a sum is made of."""
        for actor, leaf in merged.leaves.items():
            include, end = partial(self._include_leaf, actor, leaf, asked), partial(self._end, actor, asked)
            self.dispatch.loose[leaf] = self._loose(include, end)

    def _include_leaf(self, actor: int, leaf: Ref, asked: Mapping[int, int]) -> None:
        if self.pool.current(actor) == asked[actor]:
            try:
                self._add(get(leaf))
            except ActorDied as error:
                self.dispatch.replace(actor, str(error))

    def _end(self, actor: int, asked: Mapping[int, int]) -> None:
        if self.pool.current(actor) == asked[actor]:
            self.dispatch.end(actor, self.losses.collect_limit_s)

    def _add(self, partials: Sequence[Partial]) -> None:
        self.num_bytes += sum(partial.total.nbytes for partial in partials)
        self.sums.include(partials)


def _is_struck(unit: Block) -> bool:
    """Whether the plan does something to the process that trains it."""
    return any(fault.kind in PROCESS for fault in unit.faults)
