"""The Ray backend: blocks on client actors, sums in the object store, references through the driver."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayError

from fedray.aggregation.ring import RunningSum
from fedray.client.host import Work
from fedray.errors import FedrayError
from fedray.messages import Block, BlockReport, Floats, Partial
from fedray.runtime import tree
from fedray.runtime.answers import ActorDied, get
from fedray.runtime.dispatch import Call, Dispatch
from fedray.runtime.pool import Pool
from fedray.simulation.backend import Answers, CohortResult, OnReport

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
    """

    def __init__(self, pool: Pool, num_parameters: int) -> None:
        self._pool, self._num_parameters = pool, num_parameters
        self._dispatch = Dispatch(pool)
        self._shared: tuple[Floats, Any] | None = None
        self._nodes = pool.nodes()
        self._work_s = 0.0

    def run_cohort(self, parameters: Floats, blocks: Sequence[Block], on_report: OnReport) -> CohortResult:
        began, deaths = time.perf_counter(), self._pool.deaths
        shared = self._share(parameters)
        put = time.perf_counter()
        calls = self._calls(blocks)
        cohort = _Cohort(self._dispatch, shared, calls, on_report, self._num_parameters, self._nodes)
        cohort.run()
        busy_s = sum(report.seconds for report in cohort.reports.values())
        self._work_s = busy_s / sum(block.work for block in blocks)
        copies = len(calls) if shared is parameters else len(set(self._nodes))
        return CohortResult(
            partial=cohort.total.partial(),
            reports=list(cohort.reports.values()),
            seconds={"put": put - began, "train": cohort.train_s, "aggregate": cohort.aggregate_s},
            num_bytes={"put": parameters.nbytes * copies, "aggregate": cohort.num_bytes},
            attempts={start: tries for start, tries in cohort.attempts.items() if tries > 1},
            deaths=self._pool.deaths - deaths,
            slots=self._pool.placement.slots,
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
            return [(_single(block, place),) for block in blocks for place in range(len(block.clients))]
        by_work = sorted(blocks, key=lambda block: (-block.work, block.index))
        work = sum(block.work for block in blocks)
        wanted = math.ceil(work * self._work_s / _CALL_S) if self._work_s else len(blocks)
        num_calls = min(len(blocks), max(self._pool.placement.slots, wanted))
        return [tuple(by_work[call::num_calls]) for call in range(num_calls)]

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

    def _call(self, method: str, shared: Any, position: int, item: Any) -> Call:
        def take(answer: Any, attempts: int) -> None:
            self._answers[position] = answer

        is_small = not isinstance(shared, ray.ObjectRef)
        return Call(method=method, args=lambda actor: (shared, item), on_answer=take, is_small=is_small)

    @property
    def ready(self) -> bool:
        return len(self._answers) == self._num_items

    def wait(self) -> list[Any]:
        self._dispatch.run(lambda: self.ready)
        return [self._answers[position] for position in range(self._num_items)]


class _Cohort:
    """The state of one `run_cohort`: which blocks are trained, and which are safe in the sum."""

    def __init__(
        self,
        dispatch: Dispatch,
        shared: Any,
        calls: Sequence[tuple[Block, ...]],
        on_report: OnReport,
        num_parameters: int,
        nodes: Sequence[str],
    ) -> None:
        self.dispatch, self.pool, self.shared, self.on_report = dispatch, dispatch.pool, shared, on_report
        self.calls, self.nodes, self.round = calls, nodes, calls[0][0].round
        self.total = RunningSum(num_parameters)
        self.reports: dict[int, BlockReport] = {}
        self.attempts: dict[int, int] = {}
        self.train_s = self.aggregate_s = 0.0
        self.num_bytes = self._num_training = 0
        self._holding: dict[int, None] = {}
        """Actors that hold sums which were not collected yet, in order."""

    def run(self) -> None:
        """Trains, collects, and trains again what was lost in between."""
        pending, losses = list(self.calls), 0
        while pending:
            began = time.perf_counter()
            self._train(pending)
            trained = time.perf_counter()
            self.dispatch.run(lambda: not self.dispatch.loose)
            safe = set(self.total.partial().blocks)
            pending = [(block,) for call in self.calls for block in call if block.index not in safe]
            losses += bool(pending)
            if losses > self.pool.retries:
                raise FedrayError(
                    f"{len(pending)} blocks were lost with their actors {losses} times in one round; "
                    "look for what kills the actors, or raise failures.retries"
                )
            self.train_s += trained - began
            self.aggregate_s += time.perf_counter() - trained

    def _train(self, pending: Sequence[tuple[Block, ...]]) -> None:
        self._num_training = sum(len(blocks) for blocks in pending)
        self.dispatch.urgent.extend(self._call(blocks) for blocks in pending)
        self.dispatch.run(lambda: self._num_training == 0, self._collect)

    def _call(self, blocks: tuple[Block, ...]) -> Call:
        return Call(
            method="train",
            args=lambda actor: (self.shared, blocks, self._hands_over(actor)),
            on_answer=self._take,
            actor=int(blocks[0].clients[0]) if self.pool.placement.own_actor else None,
            what=_name(blocks),
            is_small=not isinstance(self.shared, ray.ObjectRef),
            parts=[self._call((block,)) for block in blocks] if len(blocks) > 1 else (),
        )

    def _hands_over(self, actor: int) -> bool:
        """Whether this seems the last call for its actor, and its sum goes to the driver anyway."""
        last = len(self.dispatch.urgent) <= self.dispatch.num_free and tree.is_flat(self.nodes)
        if last:
            self._holding.pop(actor, None)
        else:
            self._holding[actor] = None
        return last

    def _take(self, work: Work, attempts: int) -> None:
        for report in work.reports:
            self._num_training -= 1
            self.attempts[report.start] = self.attempts.get(report.start, 0) + attempts
            first = report.block not in self.reports
            self.reports[report.block] = report
            if first:
                self.on_report(report)
        if work.partial is not None:
            self._add(work.partial)

    def _collect(self) -> None:
        """Asks for the sums right behind the last training, so that an actor that is done hands its own over."""
        if not self._holding:
            return
        asked = {actor: self.pool.current(actor) for actor in self._holding}
        leaves = {actor: self.pool.submit(actor, "collect", self.round) for actor in self._holding}
        self._holding.clear()
        for part in tree.merge(self.pool, leaves, self.nodes):
            self.dispatch.loose[part.ref] = lambda _, part=part: self._include(part, asked)

    def _include(self, part: tree.Sum, asked: dict[int, Any]) -> None:
        """Adds a sum; where it is lost, those that it was made of, one by one.

        Args:
            part: The sum.
            asked: Who was at the position of each actor when it was asked for its sum.
        """
        try:
            return self._add(get(part.ref))
        except (ActorDied, RayError):
            self.pool.check()
        for actor, leaf in part.leaves.items():
            try:
                self._add(get(leaf))
            except ActorDied as error:
                if self.pool.current(actor) is asked[actor]:
                    self.dispatch.replace(actor, error)
        return None

    def _add(self, partial: Partial) -> None:
        self.num_bytes += partial.total.nbytes
        self.total.include(partial)


def _single(block: Block, place: int) -> Block:
    """One client of a block as a block of its own."""
    start = block.start + place
    return replace(block, index=start, start=start, clients=block.clients[place : place + 1])


def _name(blocks: Sequence[Block]) -> str:
    clients = [str(client) for block in blocks for client in block.clients]
    more = f" and {len(clients) - 5} more" if len(clients) > 5 else ""
    return f"the training of client{'s' if len(clients) > 1 else ''} {', '.join(clients[:5])}{more}"
