"""The round loop."""

import os
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import Literal

import numpy as np
import torch

from fedray.data.base import FederatedData
from fedray.data.holdout import Holdout
from fedray.errors import RoundFailed, UserError
from fedray.messages import BlockReport, Fault
from fedray.models.base import Layout
from fedray.models.table import build
from fedray.models.threads import threads
from fedray.server.strategy import ServerState
from fedray.server.synchronous import Synchronous
from fedray.simulation import ahead, quarantine
from fedray.simulation import ledger as ledgers
from fedray.simulation.ahead import Step
from fedray.simulation.backend import Backend, CohortResult, untrained
from fedray.simulation.blocks import form_groups
from fedray.simulation.checkpoint import Extra, digest, open_checkpoints
from fedray.simulation.chosen import Chosen
from fedray.simulation.evaluation import Evaluations
from fedray.simulation.faults.bind import RoundFaults
from fedray.simulation.faults.event import FaultEvent, Inject, Note, not_here
from fedray.simulation.faults.kinds import ROUND, STORAGE
from fedray.simulation.plan import Plan
from fedray.simulation.rounds import Rounds
from fedray.simulation.run_folder import RunFolder
from fedray.simulation.saving import Saving
from fedray.simulation.server import Server, version_of
from fedray.simulation.trained import Trained
from fedray.simulation.watch import Watch

Seconds = dict[str, float]

_NUMBERS = 2**25
"""Numbers in the sums of steps that are trained together, at most: each step has one of all parameters."""
_LARGE = 1_000_000
"""Parameters from which the server uses all processors while the hosts wait. It works element by element: threads do
not change a bit."""


class Simulation:
    """Runs the rounds of a plan on a backend, from the newest checkpoint where there is one.

    What the next round does not wait for stays off its path: digests and checkpoints are made by threads, evaluation by
    hosts with nothing to train. A round is recorded when its evaluation is there, at the latest after the next round's
    training; a run that breaks off before goes on from the last recorded round.

    Args:
        plan: The experiment.
        data: The population's data.
        backend: Runs the clients.
        folder: Keeps the records.
        watch: Told of what happens; asked whether to stop.
        inject: Carries out planned faults of the run itself.
    """

    def __init__(
        self,
        *,
        plan: Plan,
        data: FederatedData,
        backend: Backend,
        folder: RunFolder,
        watch: Watch,
        inject: Inject = not_here,
    ) -> None:
        self.plan, self.backend, self.folder, self.watch = plan, backend, folder, watch
        self.sizes = Holdout(data, plan.workload.holdout, plan.workload.seed).sizes
        self.module = build(plan.workload.model, plan.workload.spec, plan.workload.seed)
        self.layout = Layout(self.module)
        self.evaluations = Evaluations(plan, data, backend)
        self.checkpoints = open_checkpoints(plan.checkpoint, folder.path)
        self.extra: Extra = {}
        """What checkpoints keep beside the state, as of the last recorded round; replaced, never changed in place."""
        is_large = self.layout.num_parameters >= _LARGE
        self._server_threads = os.cpu_count() or 1 if is_large else torch.get_num_threads()
        self._seconds: Seconds = {}
        self._inject, self._quarantined, self._carried_out = inject, dict[int, str](), set[int]()
        self._rounds = Rounds(plan, self.sizes, self.layout.num_parameters)
        self._server = Server(plan, self.layout, self._rounds.tree)
        self._trained: Trained | None = None
        self._chosen: dict[int, Chosen] = {}
        self._ahead: dict[int, CohortResult] = {}
        self._now_s = self._rounds.begin_s
        self._saved_at = time.monotonic()

    def start(self) -> ServerState:
        """The newest checkpoint, or the state before the first round; records after it are dropped."""
        saved = self.checkpoints.latest()
        if saved is None:
            if self.folder.lines("rounds"):
                self.watch.tell("warning", text="there is no checkpoint; the rounds that are done are computed again")
            state = self._server.initial(self.module)
        else:
            state, self.extra = saved.state, saved.extra
            self._now_s = tuple(self.extra.get("now_s", self._now_s))
        self.folder.truncate(state.round)
        ledger = self.folder.clients.read()
        self._quarantined = quarantine.of_ledger(ledger)
        self._rounds.remember(ledger)
        self._carried_out = {event["fault"] for event in self.folder.lines("faults") if event["kind"] in ROUND}
        return state

    def run(self, state: ServerState) -> ServerState:
        """All rounds after `state`.

        Raises:
            Interrupted: Somebody asked to stop; the last recorded round is saved.
            ClientError: A client gave no usable update, and the settings say to end the run.
            RoundFailed: A round lost too much, and the settings say to end the run.
        """
        self._recorded, self._saved_round, self._ended = state, state.round, time.perf_counter()
        with ThreadPoolExecutor(1, "fedray-digest") as self._digests, ThreadPoolExecutor(1, "fedray-save") as saver:
            self._saving = Saving(saver)
            try:
                while state.round < self.plan.rounds:
                    self.watch.check()
                    state = self._run_round(state)
                self._settle_last()
            finally:
                if self._trained is not None and self._trained.evaluating.ready:
                    self._settle()
                self._save()
                self._saving.wait()
        return state

    def _run_round(self, state: ServerState) -> ServerState:
        """One round: state in, state out."""
        plan, round = self.plan, state.round + 1
        with self._clock("sample"):  # 1. choose the cohort
            chosen = self._choose(state)
            self._now_s = chosen.next_s
        with self._clock("schedule"):  # 2. cut it into blocks
            absent = quarantine.absent(self._quarantined, chosen.training)
            blocks = form_groups(chosen.groups(absent), self.sizes, plan.block_size, round)
            planned = plan.faults.due(round, blocks)
        result = self._ahead.pop(round, None)  # 3. train and aggregate, where that was not done with a step before
        if result is None:
            result = self._train(state, planned, round, chosen)
        self._add(result.seconds)
        self._settle_clocked()
        with self._clock("record"):  # 4. close the ledger, decide about failures
            lost = absent | chosen.missed | result.dropped
            ledger = ledgers.close(
                chosen.cohort,
                planned.blocks,
                result.reports,
                result.attempts,
                lost,
                is_virtual=chosen.times is not None,
            )
            self._write_errors(ledger, round)
            if chosen.committed:
                ledgers.judge(ledger, plan.failures, round)
            self._quarantined |= quarantine.of_round(result.dropped)
            self._rounds.note(round, ledger.columns)
        with self._clock("server"), threads(self._server_threads):  # 6. strategy step, digest
            before = state
            state = self._server.step(state, result, chosen)
            past = {version: version_of(before, version) for version in chosen.later}
            state = replace(state, past=past, kept={**state.kept, **result.kept} if result.kept else state.kept)
            fingerprint = self._digest(state)
        with self._clock("evaluate"):  # 7. evaluate when due
            evaluating = self.evaluations.begin(state)
        self._trained = Trained(
            state=state,
            fingerprint=fingerprint,
            ledger=ledger,
            result=result,
            evaluating=evaluating,
            faults=_at("after", planned.others),
            seconds=self._end_round(),
            chosen=chosen,
        )
        return state

    def _choose(self, state: ServerState) -> Chosen:
        """The clients of the next round, unless they were chosen already while hosts trained."""
        round = state.round + 1
        if round in self._chosen:
            return self._chosen.pop(round)
        return self._rounds.choose(round, self._now_s, partial(self.evaluations.losses, state))

    def _coming(self, round: int) -> Chosen:
        """The clients of a later round, all before it being chosen."""
        if round not in self._chosen:
            self._chosen[round] = self._rounds.choose(round, self._now_s)
        return self._chosen[round]

    def _digest(self, state: ServerState) -> Future[str]:
        """The digest; that of many parameters is made by a thread."""
        if self.layout.num_parameters >= _LARGE:
            return self._digests.submit(digest, state)
        fingerprint = Future[str]()
        fingerprint.set_result(digest(state))
        return fingerprint

    def _train(self, state: ServerState, planned: RoundFaults, round: int, chosen: Chosen) -> CohortResult:
        """Has the blocks of a round trained, with what is planned to go wrong meanwhile, and records what did.

        Raises:
            RoundFailed: Too much was lost, or there is nobody to train.
        """
        missed = [fault for fault in planned.others if fault.kind not in ROUND]
        self._note(
            *(FaultEvent.of(f, f"no target: {_target(f)} is not in the blocks of round {round}") for f in missed)
        )
        if not chosen.committed:
            self.watch.tell("warning", text=f"round {round} is abandoned: too few devices reported")
            self._carry_out([*_at("before", planned.others), *_at("during", planned.others)])
            return untrained()
        if not planned.blocks:
            raise RoundFailed(
                f"nobody is left to train in round {round}: the whole cohort is quarantined; look for the cause in the "
                "run folder's clients, or raise failures.quarantine_after"
            )
        try:
            count = self._count(round, _at("before", planned.others))
            steps = self._steps(Step(round=round, chosen=chosen, blocks=planned.blocks))
            starts = [self._server.sent(state, edge, version) for edge, version in ahead.starts(steps)]
            parameters = starts[0] if len(starts) == 1 else np.concatenate(starts)
            kept, last = state.kept if self.plan.workload.compression.error_feedback else None, steps[-1].round
            blocks = planned.blocks if len(steps) == 1 else ahead.together(steps)
            result = self.backend.run_cohort(parameters, blocks, count, lambda: self._beside(last), kept)
        except RoundFailed as error:
            self._note(*error.faults)
            raise
        self._note(*result.faults)
        self._carry_out([*_at("before", planned.others), *_at("during", planned.others)])  # before: no block came
        if len(steps) == 1:
            return result
        result, *others = ahead.apart(steps, result)
        self._ahead = {step.round: other for step, other in zip(steps[1:], others, strict=True)}
        return result

    def _steps(self, first: Step) -> list[Step]:
        """A step, and those after it that can be trained with it: all start from models that are there already."""
        steps, plan = [first], self.plan
        if isinstance(plan.protocol, Synchronous) or plan.faults.num_due(first.round):
            return steps
        most = min(plan.protocol.look_ahead, max(1, _NUMBERS // self.layout.num_parameters))
        for round in range(first.round + 1, min(plan.rounds, first.round + most - 1) + 1):
            chosen = self._coming(round)
            if not chosen.committed or chosen.version.max() >= first.round or plan.faults.num_due(round):
                break
            absent = quarantine.absent(self._quarantined, chosen.training)
            blocks = form_groups(chosen.groups(absent), self.sizes, plan.block_size, round)
            if not blocks:
                break
            steps.append(Step(round=round, chosen=chosen, blocks=blocks))
        return steps

    def _beside(self, round: int) -> None:
        """What is done while hosts train: the record of the round before, and the choice of the next cohort.

        A selection that learns from this round has to wait for its end.
        """
        self._settle_if_ready()
        if round < self.plan.rounds and not self._rounds.learns:
            self._coming(round + 1)

    def _carry_out(self, faults: Sequence[Fault]) -> None:
        """Has faults of the run carried out, each once: a round that is computed again does not have them again."""
        for fault in faults:
            if fault.id not in self._carried_out:
                self._carried_out.add(fault.id)
                (self._strike_storage if fault.kind in STORAGE else self._inject)(fault, self._note)

    def _strike_storage(self, fault: Fault, note: Note) -> None:
        """Has the next checkpoint meet a full or a failing storage; that needs no process."""
        self.checkpoints.fail_next(STORAGE[fault.kind])
        event = FaultEvent.of(fault, f"planned: {fault.kind} at the next checkpoint")
        note(replace(event, injected_at=time.time()))

    def _note(self, *events: FaultEvent) -> None:
        if events:
            self.folder.append("faults", *(asdict(event) for event in events))

    def _end_round(self) -> Seconds:
        """The seconds of the round that ends here; what follows is part of the next."""
        now = time.perf_counter()
        seconds, self._seconds = {**self._seconds, "round": now - self._ended}, {}
        self._ended = now
        return seconds

    def _settle_clocked(self) -> None:
        """Records the round before where nothing else has, on the path of this one, and saves it where that is due."""
        if self._trained is not None:
            with self._clock("evaluate"):
                self._trained.evaluating.wait()
            with self._clock("record"):
                self._settle()
        with self._clock("checkpoint"):
            self._save_if_due()

    def _settle_if_ready(self) -> None:
        """As `_settle_clocked`, but hidden behind the training, where there is nothing to wait for."""
        if self._trained is not None and self._trained.ready:
            self._settle()
            self._save_if_due()

    def _settle_last(self) -> None:
        """Waits for the last round's evaluation, which is part of that round: no other comes."""
        if self._trained is not None:
            began = time.perf_counter()
            self._trained.evaluating.wait()
            waited, seconds = time.perf_counter() - began, self._trained.seconds
            seconds["evaluate"] += waited
            seconds["round"] += waited

    def _settle(self) -> None:
        """Records the round before; takes no time to speak of once its evaluation is there."""
        assert self._trained is not None  # the callers look
        trained, self._trained = self._trained, None
        metrics = {"train/loss": trained.ledger.loss, **trained.evaluating.finish(self.folder)}
        self._record(trained, metrics)
        self._recorded = trained.state
        if trained.chosen.times is not None:
            self.extra = {**self.extra, "now_s": list(trained.chosen.next_s)}
        self._carry_out(trained.faults)

    def _save_if_due(self) -> None:
        """Saves what is new; a storage that is slower than the time between two checkpoints is not waited for."""
        every_s = self.plan.checkpoint.every_s
        is_due = time.monotonic() - self._saved_at >= every_s and (every_s == 0 or not self._saving.is_busy)
        if is_due and self._recorded.round > self._saved_round:
            self._save()

    def _save(self) -> None:
        """A checkpoint of the last recorded round, after everything up to it is on the disk."""
        state, extra, write = self._recorded, self.extra, self.folder.flush(self._recorded.round)

        def save() -> None:
            write()
            try:
                self.checkpoints.save(state, extra)
            except UserError as error:
                if self.plan.checkpoint.on_error == "abort":
                    raise
                self.watch.tell("warning", text=f"{error}; {self.checkpoints.standing}")

        self._saving.begin(save)
        self._saved_at, self._saved_round = time.monotonic(), state.round

    def _count(self, round: int, faults: Sequence[Fault]):
        """Counts the clients that are done; the first ones show that the training goes on, for faults due meanwhile."""
        done, cohort = 0, self.plan.cohort_size

        def count(report: BlockReport) -> None:
            nonlocal done
            done += len(report.columns["examples"])
            self.watch.tell("block", round=round, clients=min(done, cohort), cohort=cohort)
            self._carry_out(faults)
            self._settle_if_ready()

        return count

    def _write_errors(self, ledger: ledgers.Ledger, round: int) -> None:
        for client, failure in ledger.failures.items():
            if failure.details:
                self.folder.write_error(round, client, failure.details)
        for sentence in ledgers.losses(ledger, round):
            self.watch.tell("warning", text=sentence)

    def _record(self, trained: Trained, metrics: dict[str, float]) -> None:
        record = trained.record(metrics)
        self.folder.clients.append(trained.state.round, trained.columns)
        self.folder.append("rounds", record)
        self.watch.tell("round", rounds=self.plan.rounds, **record)

    @contextmanager
    def _clock(self, step: str) -> Generator[None]:
        began = time.perf_counter()
        yield
        self._add({step: time.perf_counter() - began})

    def _add(self, seconds: Seconds) -> None:
        for step, more_s in seconds.items():
            self._seconds[step] = self._seconds.get(step, 0.0) + more_s


def _at(moment: Literal["before", "during", "after"], faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """The faults of the run itself that are due at a moment of a round."""
    return tuple(fault for fault in faults if fault.kind in ROUND and fault.at == moment)


def _target(fault: Fault) -> str:
    return f"client {fault.client}" if fault.client >= 0 else "its block"
