"""Synchronous rounds as the field runs them, in virtual time: selection, configuration and reporting.

Bonawitz et al. 2019, Towards federated learning at scale: system design, https://arxiv.org/abs/1902.01046, sections 2
and 4. What a device does and when is a function of the experiment alone, so who will be late is known before anybody
trains, and only those whose updates count are trained for real.

Shapes: N clients of the population, S selected in a round. Times are virtual seconds since the start of the run.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedray import seeds
from fedray.config import Choices, Config
from fedray.errors import RoundFailed
from fedray.messages import Array, Ints
from fedray.population.availability import DAY, Bools, Times
from fedray.population.devices import Devices
from fedray.server.sampling import in_random_order, in_weighted_order

_LONGEST_WAIT_S = 366 * DAY
"""After so long without devices enough for a round nobody will ever come."""


class Synchronous(Config):
    """Each round waits for its devices."""

    name: Literal["synchronous"] = "synchronous"
    over_selection: Annotated[float, Field(ge=1)] = 1.3
    """Devices that are selected, by those whose updates are wanted (`cohort.size`): some will be late or go away."""
    selection_s: Annotated[float, Field(gt=0)] = 600.0
    """How long a round waits at most for devices to select from; then it begins with those that are there."""
    deadline_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds after its begin at which a round ends, even if updates are missing; null: when nobody is left to come."""
    min_reports: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Part of the wanted updates that a round needs; with fewer it is abandoned, and changes nothing."""
    pause_s: Annotated[float, Field(ge=0)] = 0.0
    """From the end of a round to the selection of the next."""

    def least(self, wanted: int) -> int:
        """Updates that a round needs which wants so many."""
        return max(1, math.ceil(self.min_reports * wanted))


PROTOCOLS = Choices("protocol", {"synchronous": Synchronous})
AnyProtocol = Annotated[Synchronous, PROTOCOLS]

REPORTED, LATE, VANISHED = 0, 1, 2
"""What becomes of a selected device: its update counts; the round ends before it is there; it never comes."""
_UNDISTURBED, _DOWNLOAD, _UPLOAD, _AWAY = 0, 1, 2, 3
WHY = {
    _DOWNLOAD: "its download failed",
    _UPLOAD: "its upload failed",
    _AWAY: "the device went away",
}
"""Why a device vanished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a round asks of devices.

    Attributes:
        wanted: Updates that it waits for.
        passes: Examples that each client of the population trains on, float64, shape (N,).
        down: Bytes that a device receives.
        up: Bytes that it sends.
        able: Devices that can take part at all: positions in the population, sorted.
        weights: What the chance to be selected is proportional to, shape (N,); None: all alike.
    """

    wanted: int
    passes: Array
    down: int
    up: int
    able: Ints
    weights: Array | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One round in virtual time; arrays have shape (S,).

    Attributes:
        clients: Who was selected, sorted.
        selecting: When the selection began.
        begin: When the model was sent.
        end: When the round was over.
        fate: `REPORTED`, `LATE` or `VANISHED`.
        why: A key of `WHY` where a device vanished.
        download_s: How long receiving the model takes.
        compute_s: How long training takes.
        upload_s: How long sending the update takes.
        until: When a device reported, went away, or was told that the round is over.
        down: Bytes received, whole or not.
        up: Bytes sent, whole or not.
        lost: Bytes of transfers that did not come to their end.
        joules: Energy.
        committed: Whether enough reported.
    """

    clients: Ints
    selecting: float
    begin: float
    end: float
    fate: NDArray[np.int8]
    why: NDArray[np.int8]
    download_s: Times
    compute_s: Times
    upload_s: Times
    until: Times
    down: Times
    up: Times
    lost: Times
    joules: Times
    committed: bool

    @property
    def reported(self) -> Ints:
        """The clients whose updates count, sorted; nobody's in a round that was abandoned."""
        return self.clients[self.fate == REPORTED] if self.committed else self.clients[:0]


def plan_round(config: Synchronous, devices: Devices, demand: Demand, seed: int, round: int, now: float) -> Timeline:
    """All that happens in a round: a pure function of its arguments.

    Args:
        config: How rounds are run.
        devices: The population's.
        demand: What the round asks of them.
        seed: The experiment's seed.
        round: Round number, from 1.
        now: When the selection begins.

    Raises:
        RoundFailed: In a year of virtual time not enough devices are there at once.
    """
    clients, begin = _select(config, devices, demand, seed, round, now)
    profiles = devices.profiles
    download_s = profiles.latency_s[clients] + demand.down / profiles.download[clients].astype(np.float64)
    compute_s = demand.passes[clients] / profiles.examples_per_s[clients].astype(np.float64)
    upload_s = profiles.latency_s[clients] + demand.up / profiles.upload[clients].astype(np.float64)
    done = begin + download_s + compute_s + upload_s
    limit = begin + (math.inf if config.deadline_s is None else config.deadline_s)
    gone, why = _gone(devices, clients, begin, (download_s, compute_s, upload_s), done, limit, seed, round)
    comes = (gone > done) & (done <= limit)
    order = np.flatnonzero(comes)[np.lexsort((clients[comes], done[comes]))]
    counted = order[: demand.wanted]
    if len(counted) == demand.wanted:
        end = float(done[counted[-1]])
    else:
        end = limit if math.isfinite(limit) else float(np.minimum(gone, done).max())
    fate = np.where(gone < np.minimum(done, end), VANISHED, LATE).astype(np.int8)
    fate[counted] = REPORTED
    until = np.minimum(np.minimum(gone, done), end)
    until[counted] = done[counted]
    spans = (download_s, compute_s, upload_s)
    down, up, lost, joules = _spent(devices, demand, clients, begin, spans, until, fate, why)
    return Timeline(
        clients=clients,
        selecting=now,
        begin=begin,
        end=end,
        fate=fate,
        why=np.where(fate == VANISHED, why, _UNDISTURBED).astype(np.int8),
        download_s=download_s,
        compute_s=compute_s,
        upload_s=upload_s,
        until=until,
        down=down,
        up=up,
        lost=lost,
        joules=joules,
        committed=len(counted) >= config.least(demand.wanted),
    )


def _select(
    config: Synchronous, devices: Devices, demand: Demand, seed: int, round: int, now: float
) -> tuple[Ints, float]:
    """Who takes part, sorted, and when the round begins: when enough are there, or the time to wait is over.

    Who is there at once is taken in random order; then those that come, in the order of their coming.
    """
    size = min(len(demand.able), math.ceil(config.over_selection * demand.wanted))
    least = config.least(demand.wanted)
    waited = 0.0
    while waited <= _LONGEST_WAIT_S:
        found, seen = list[Ints](), list[Ints]()
        for some in _candidates(demand, seed, round, size):
            there = devices.availability.there(some, now + waited)
            found.append(some[there])
            seen.append(some[~there])
            if sum(map(len, found)) >= size:
                return np.sort(np.concatenate(found)[:size]), now + waited
        present, away = np.concatenate(found), np.concatenate(seen)
        chosen, begin = _wait(devices, present, away, size, now + waited, now + waited + config.selection_s)
        if len(chosen) >= least:
            return np.sort(chosen), begin
        waited = max(waited + config.selection_s, _idle(devices, demand.able, least, now, begin, config.selection_s))
    raise RoundFailed(
        f"round {round}: within {_LONGEST_WAIT_S / DAY:g} days of virtual time there were never {least} of "
        f"{len(demand.able)} devices there at once; lower cohort.size or protocol.min_reports, raise "
        "protocol.selection_s, or change devices.availability"
    )


def _idle(devices: Devices, able: Ints, least: int, now: float, since: float, selection_s: float) -> float:
    """How many seconds of selections, from `now` on, can pass over: before their end too few will have come."""
    comes = devices.availability.comes(able, np.full(len(able), since), now + _LONGEST_WAIT_S)
    enough = float(np.partition(comes, least - 1)[least - 1])
    return selection_s * max(0.0, math.floor((min(enough, now + 2 * _LONGEST_WAIT_S) - now) / selection_s))


def _wait(devices: Devices, present: Ints, away: Ints, size: int, now: float, limit: float) -> tuple[Ints, float]:
    """Who is there when the wait ends: as soon as `size` have come, or at its limit."""
    comes = devices.availability.comes(away, np.full(len(away), now), limit)
    coming = np.lexsort((np.arange(len(away)), comes))[: size - len(present)]
    coming = coming[comes[coming] <= limit]
    is_full = len(present) + len(coming) == size
    begin = float(comes[coming[-1]]) if is_full and len(coming) else limit
    chosen = np.concatenate([present, away[coming]])
    return chosen[devices.availability.there(chosen, begin)], begin


def _candidates(demand: Demand, seed: int, round: int, size: int) -> Iterator[Ints]:
    """All devices that can take part, in the order in which they are asked, some at a time: most rounds need few."""
    if demand.weights is not None:
        yield demand.able[in_weighted_order(demand.weights[demand.able], seed, round)]
        return
    start, num = 0, max(1024, 2 * size)
    while start < len(demand.able):
        stop = min(len(demand.able), start + num)
        yield demand.able[in_random_order(np.arange(start, stop), len(demand.able), seed, round)]
        start, num = stop, 2 * num


_TINY = float(np.finfo(np.float64).tiny)
Spans = tuple[Times, Times, Times]
"""Seconds of download, training and upload."""


def _gone(
    devices: Devices, clients: Ints, begin: float, spans: Spans, done: Times, limit: float, seed: int, round: int
) -> tuple[Times, NDArray[np.int8]]:
    """When each device is lost to the round, and why; infinite: never. What comes first is what counts."""
    far = float(done.max()) if math.isinf(limit) else limit
    leaves = devices.availability.leaves(clients, np.full(len(clients), begin), far)
    gone, why = np.where(leaves < done, leaves, np.inf), np.full(len(clients), _AWAY, np.int8)
    loss = devices.profiles.loss[clients]
    if not loss.any():
        return gone, why
    draws = seeds.uniforms(seeds.keys(seed, "transfers", round, clients), 2)
    received = begin + spans[0]
    for failed, at, cause in ((draws[:, 1] < loss, done, _UPLOAD), (draws[:, 0] < loss, received, _DOWNLOAD)):
        sooner = failed & (at <= gone)
        gone, why = np.where(sooner, np.nextafter(at, 0), gone), np.where(sooner, cause, why).astype(np.int8)
    return gone, why


def _spent(
    devices: Devices,
    demand: Demand,
    clients: Ints,
    begin: float,
    spans: Spans,
    until: Times,
    fate: NDArray[np.int8],
    why: NDArray[np.int8],
) -> tuple[Times, Times, Times, Times]:
    """Bytes received and sent, bytes that were of no use, joules: of each device, up to its last moment.

    A transfer that fails does so at its end.
    """
    profiles = devices.profiles
    latency_s = profiles.latency_s[clients].astype(np.float64)
    received, trained, done = begin + spans[0], begin + spans[0] + spans[1], begin + spans[0] + spans[1] + spans[2]
    fails_down, fails_up = ((fate == VANISHED) & (why == cause) for cause in (_DOWNLOAD, _UPLOAD))
    has_received = until >= received
    down = _moved(until - begin - latency_s, spans[0] - latency_s, demand.down, has_received | fails_down)
    up = _moved(until - trained - latency_s, spans[2] - latency_s, demand.up, (until >= done) | fails_up)
    lost = np.where(has_received, 0, down) + np.where(fate == REPORTED, 0, up)
    share = np.clip((until - received) / np.maximum(spans[1], _TINY), 0, 1)
    passes, per_byte = demand.passes[clients] * share, profiles.joules_per_byte[clients]
    return down, up, lost, passes * profiles.joules_per_example[clients] + (down + up) * per_byte


def _moved(elapsed: Times, needed: Times, num_bytes: int, is_whole: Bools) -> Times:
    """Bytes of a transfer that are there after some time: whole ones, of one that goes on never all."""
    share = np.clip(elapsed / np.maximum(needed, _TINY), 0, 1)
    return np.where(is_whole, num_bytes, np.minimum(np.floor(share * num_bytes), num_bytes - 1))
