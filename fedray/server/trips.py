"""What a device does with the model it is sent: it receives, trains and sends, or is lost on the way.

Shapes: N clients of the population, S trips. Times are virtual seconds since the start of the run.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from fedray import seeds
from fedray.messages import Array, Ints
from fedray.population.availability import DAY, Bools, Times
from fedray.population.devices import Devices

REPORTED, LATE, VANISHED = 0, 1, 2
"""What becomes of a device: its update counts; it is there too late; it never comes."""
OVER, DOWNLOAD, UPLOAD, AWAY, STALE = 0, 1, 2, 3, 4
WHY = {
    OVER: "the round was over before its update was there",
    DOWNLOAD: "its download failed",
    UPLOAD: "its upload failed",
    AWAY: "the device went away",
    STALE: "its update was too old",
}
"""Why an update does not count."""
ALL = int(np.iinfo(np.int64).max)
"""More steps than any training has."""
LONGEST_WAIT_S = 366 * DAY
"""Who has waited so long for devices waits for ever."""
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is asked of devices.

    Attributes:
        wanted: Updates for one step of the server.
        passes: Examples that each client of the population trains on, float64, shape (N,).
        down: Bytes that a device receives.
        up: Bytes that it sends.
        able: Devices that can take part at all: positions in the population, sorted.
        batch: Examples of a training step of each client, shape (N,); None: nobody is asked for a part of its work.
        weights: What the chance to be selected is proportional to, shape (N,); None: all alike.
    """

    wanted: int
    passes: Array
    down: int
    up: int
    able: Ints
    batch: Array | None = None
    weights: Array | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trips:
    """Some devices, each on its way with a model; arrays have shape (S,).

    Attributes:
        clients: Which.
        started: When the model was sent to each.
        download_s: How long receiving it takes.
        compute_s: How long training takes.
        upload_s: How long sending the update takes.
        gone: When the device is lost; infinite: it is not.
        why: `DOWNLOAD`, `UPLOAD` or `AWAY`: what it is lost by.
    """

    clients: Ints
    started: Times
    download_s: Times
    compute_s: Times
    upload_s: Times
    gone: Times
    why: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.clients)

    @property
    def received(self) -> Times:
        """When the model is there."""
        return self.started + self.download_s

    @property
    def trained(self) -> Times:
        """When training is done."""
        return self.received + self.compute_s

    @property
    def done(self) -> Times:
        """When the update is there."""
        return self.trained + self.upload_s

    @property
    def comes(self) -> Bools:
        """Whether the update comes at all."""
        return self.gone > self.done

    @property
    def ends(self) -> Times:
        """When the update is there, or the device lost."""
        return np.minimum(self.gone, self.done)

    def take(self, rows: Ints | Bools) -> "Trips":
        """Some of them."""
        return Trips(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def join(self, other: "Trips") -> "Trips":
        """These and others."""
        pairs = {field.name: (getattr(self, field.name), getattr(other, field.name)) for field in fields(self)}
        return Trips(**{name: np.concatenate(pair) for name, pair in pairs.items()})


def legs(devices: Devices, demand: Demand, clients: Ints) -> tuple[Times, Times, Times]:
    """How many seconds each client takes to receive, to train and to send, shape (S,) each."""
    profiles = devices.profiles
    latency_s = profiles.latency_s[clients].astype(np.float64)
    download_s = latency_s + demand.down / profiles.download[clients].astype(np.float64)
    compute_s = demand.passes[clients] / profiles.examples_per_s[clients].astype(np.float64)
    upload_s = latency_s + demand.up / profiles.upload[clients].astype(np.float64)
    return download_s, compute_s, upload_s


def send(devices: Devices, demand: Demand, clients: Ints, started: Times, limit: float, seed: int, draw: Ints) -> Trips:
    """Sends the model to devices: their trips.

    Args:
        devices: The population's.
        demand: What is asked of them.
        clients: Which, shape (S,).
        started: When, shape (S,).
        limit: After this time it does not matter who leaves; may be infinite.
        seed: The experiment's seed.
        draw: A number for each that decides, with its client, whether its transfers fail, from 0, shape (S,).
    """
    download_s, compute_s, upload_s = legs(devices, demand, clients)
    received = started + download_s
    done = received + compute_s + upload_s
    leaves = devices.availability.leaves(clients, started, min(limit, float(done.max(initial=0.0))))
    gone, why = np.where(leaves < done, leaves, np.inf), np.full(len(clients), AWAY, np.int8)
    loss = devices.profiles.loss[clients]
    if loss.any():
        keys = seeds.keys(seed, "transfers", 0, clients)
        fails_up, fails_down = (seeds.uniform_at(keys, 2 * draw + way) < loss for way in (1, 0))
        for failed, at, cause in ((fails_up, done, UPLOAD), (fails_down, received, DOWNLOAD)):
            sooner = failed & (at <= gone)
            gone, why = np.where(sooner, np.nextafter(at, 0), gone), np.where(sooner, cause, why).astype(np.int8)
    return Trips(
        clients=clients,
        started=started,
        download_s=download_s,
        compute_s=compute_s,
        upload_s=upload_s,
        gone=gone,
        why=why,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One step of the server in virtual time, and what brought it about; arrays have shape (S,).

    Attributes:
        trips: The devices that are accounted for in it, sorted by client.
        selecting: When the selection began.
        begin: When it began.
        end: When it was over.
        fate: `REPORTED`, `LATE` or `VANISHED`.
        why: A key of `WHY`, where the update does not count.
        until: When a device reported, was lost, or was told that all is over.
        version: Of which version of the model each has trained on: the number of steps before it was sent.
        down: Bytes received, whole or not.
        up: Bytes sent, whole or not.
        lost: Bytes of transfers that did not come to their end, or came too late.
        joules: Energy.
        committed: Whether enough reported.
        counts: Whose updates count; nobody's in a round that was abandoned.
        most_steps: Training steps that each has time for, where that is less than all; None: everybody has.
        versions: The versions that devices under way train on, after the step.
    """

    trips: Trips
    selecting: float
    begin: float
    end: float
    fate: NDArray[np.int8]
    why: NDArray[np.int8]
    until: Times
    version: Ints
    down: Times
    up: Times
    lost: Times
    joules: Times
    committed: bool
    counts: Bools
    most_steps: Ints | None = None
    versions: tuple[int, ...] = ()

    @property
    def clients(self) -> Ints:
        """Who is accounted for, sorted."""
        return self.trips.clients

    def join(self, *others: "Timeline") -> "Timeline":
        """One timeline of several whose devices are others: from the first begin to the last end."""
        if not others:
            return self
        parts, trips = (self, *others), self.trips
        for other in others:
            trips = trips.join(other.trips)
        order = np.argsort(trips.clients)
        arrays = ("fate", "why", "until", "version", "down", "up", "lost", "joules", "counts")
        steps = [np.full(len(each.clients), ALL) if each.most_steps is None else each.most_steps for each in parts]
        is_whole = all(each.most_steps is None for each in parts)
        return Timeline(
            trips=trips.take(order),
            selecting=min(each.selecting for each in parts),
            begin=min(each.begin for each in parts),
            end=max(each.end for each in parts),
            committed=any(each.committed for each in parts),
            most_steps=None if is_whole else np.concatenate(steps)[order],
            versions=tuple(sorted({version for each in parts for version in each.versions})),
            **{name: np.concatenate([getattr(each, name) for each in parts])[order] for name in arrays},
        )


def account(
    devices: Devices,
    demand: Demand,
    trips: Trips,
    *,
    selecting: float,
    begin: float,
    end: float,
    fate: NDArray[np.int8],
    why: NDArray[np.int8],
    version: Ints,
    committed: bool = True,
    versions: tuple[int, ...] = (),
    most_steps: Ints | None = None,
) -> Timeline:
    """The timeline of a step, with bytes and energy: of each device, up to its last moment.

    A transfer that fails does so at its end.
    """
    profiles, clients = devices.profiles, trips.clients
    until = np.where(fate == REPORTED, trips.done, np.minimum(trips.ends, end))
    latency_s = profiles.latency_s[clients].astype(np.float64)
    fails_down, fails_up = ((fate == VANISHED) & (why == cause) for cause in (DOWNLOAD, UPLOAD))
    has_received = until >= trips.received
    is_down, is_up = has_received | fails_down, (until >= trips.done) | fails_up
    down = _moved(until - trips.started - latency_s, trips.download_s - latency_s, demand.down, is_down)
    up = _moved(until - trips.trained - latency_s, trips.upload_s - latency_s, demand.up, is_up)
    share = np.clip((until - trips.received) / np.maximum(trips.compute_s, _TINY), 0, 1)
    joules = demand.passes[clients] * share * profiles.joules_per_example[clients]
    return Timeline(
        trips=trips,
        selecting=selecting,
        begin=begin,
        end=end,
        fate=fate,
        why=why,
        until=until,
        version=version,
        down=down,
        up=up,
        lost=np.where(has_received, 0, down) + np.where(fate == REPORTED, 0, up),
        joules=joules + (down + up) * profiles.joules_per_byte[clients],
        committed=committed,
        counts=(fate == REPORTED) & committed,
        most_steps=most_steps,
        versions=versions,
    )


def _moved(elapsed: Times, needed: Times, num_bytes: int, is_whole: Bools) -> Times:
    """Bytes of a transfer that are there after some time: whole ones, of one that goes on never all."""
    share = np.clip(elapsed / np.maximum(needed, _TINY), 0, 1)
    return np.where(is_whole, num_bytes, np.minimum(np.floor(share * num_bytes), num_bytes - 1))
