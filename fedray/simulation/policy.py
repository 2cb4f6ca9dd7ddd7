"""What follows when something is lost: data in, decision out; whoever asks carries it out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fedray.simulation.settings import FailureConfig
from fedray.simulation.share import at_least

MISSED = ("late", "vanished", "abandoned")
"""Fates of virtual time: what devices did, which no failure of this machine has brought about."""
_KNOWN = 5
"""Blocks that must have ended before a deadline is learnt."""
_QUANTILE, _FACTOR, _LEAST_S = 0.9, 10.0, 30.0
"""A learnt deadline: this quantile of the seconds per work, times this factor, and never less than so many seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A block, or a part of one, whose actor died while it trained it.

    Attributes:
        failures: The settings.
        round: Round number, from 1.
        block: Index of the block, as the round was cut up.
        clients: Whom the actor was to train together: the block's clients, or fewer where it was divided.
        attempts: How often an actor began with them, this time included.
        cause: What is known about it, in one line.
        history: Client to how many actors died in this round while they trained it by itself, this time included.
    """

    failures: FailureConfig
    round: int
    block: int
    clients: tuple[int, ...]
    attempts: int
    cause: str
    history: Mapping[int, int] = field(default_factory=dict[int, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Train again, each part in one go: the clients of all parts are those of the status."""

    parts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Go on without these clients in this round."""

    clients: tuple[int, ...]
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """Go on without this client, in this round and all later ones."""

    client: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Abort:
    """End the run with this sentence."""

    sentence: str


Decision = Retry | Drop | Quarantine | Abort


def decide(status: Status) -> Decision:
    """What follows when an actor died while it trained a block."""
    failures = status.failures
    if failures.on_death == "abort":
        return Abort(
            sentence=f"{_what(status)} lost its actor ({status.cause}); set failures.on_death to replace or drop"
        )
    if failures.on_death == "drop":
        return Drop(clients=status.clients, cause=status.cause)
    return _replace(status, failures)


def _replace(status: Status, failures: FailureConfig) -> Decision:
    """Train again: as before, then one by one to find out whose fault it is, until a limit is reached."""
    is_alone, limit = len(status.clients) == 1, failures.quarantine_after
    if is_alone and limit is not None:
        client = status.clients[0]
        deaths = status.history.get(client, 0)
        if deaths >= limit:
            return Quarantine(client=client, cause=f"{deaths} actors died that trained it alone ({status.cause})")
    elif status.attempts > failures.retries and limit is None:
        return Abort(
            sentence=f"{_what(status)} lost its actor {_times(status.attempts)} ({status.cause}); look for a client "
            "that kills its process or needs too much memory, set failures.quarantine_after, or raise failures.retries"
        )
    return Retry(parts=(status.clients,) if status.attempts == 1 else tuple((client,) for client in status.clients))


def _what(status: Status) -> str:
    of = f"client {status.clients[0]} of " if len(status.clients) == 1 else ""
    return f"the training of {of}block {status.block} in round {status.round}"


def _times(num: int) -> str:
    return "once" if num == 1 else f"{num} times"


def enough(failures: FailureConfig, fates: Mapping[str, int], round: int) -> Abort | None:
    """Whether a round has updates enough to go on with; else the sentence to end with.

    Args:
        failures: The settings.
        fates: Fate to number of clients of the cohort.
        round: Round number, from 1.
    """
    cohort, usable = sum(num for fate, num in fates.items() if fate not in MISSED), fates["ok"] + fates["retried"]
    needed = 1 if failures.min_clients is None else at_least(failures.min_clients, cohort)
    if usable >= needed:
        return None
    lost = ", ".join(f"{num} {fate}" for fate, num in fates.items() if num and fate not in ("ok", "retried"))
    why = "and no mean can be formed of nothing" if needed == 1 else f"but failures.min_clients needs {needed}"
    remedy = "set failures.on_death to replace" if fates["dropped"] else "see the causes in the run folder's clients"
    more = "" if failures.min_clients is None else ", or lower failures.min_clients"
    return Abort(
        sentence=f"round {round} has {usable} usable updates of {cohort} clients ({lost or 'none lost'}), {why}; "
        f"{remedy}{more}"
    )


def deadline_s(failures: FailureConfig, work: float, seen: Sequence[tuple[float, float]]) -> float | None:
    """Seconds after which an actor that trains a block counts as dead, or None for never.

    Args:
        failures: The settings.
        work: Work of the block, in example-passes.
        seen: (work, seconds) of blocks that ended, of any round.
    """
    if failures.deadline != "auto":
        return failures.deadline
    if len(seen) < _KNOWN:
        return None
    rates = sorted(seconds / max(1.0, done) for done, seconds in seen)
    return max(_LEAST_S, rates[int(_QUANTILE * (len(rates) - 1))] * max(1.0, work) * _FACTOR)
