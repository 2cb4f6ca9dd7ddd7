"""Results of calls, and what it means when there is none."""

import pickle
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import (
    GetTimeoutError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RaySystemError,
    RayTaskError,
)

from fedray.errors import ClusterError, FedrayError

Ref = ray.ObjectRef[Any]


class ActorDied(FedrayError):
    """The actor that had a call died before it answered, or its answer was lost with its node."""


class NoAnswer(ActorDied):
    """The actor may live, but does not answer."""


class AnswerLost(FedrayError):
    """The actor lives, but what it answered is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an actor is.

    Attributes:
        node: Ray's id of the node.
        pid: Process id on that node.
    """

    node: str
    pid: int


ANSWER_S = 120.0
"""How long a result may take that is there already and lies on another node, or that takes no time to make."""


def pack(value: Any) -> bytes:
    """A small argument or result as one piece of bytes: Ray takes half a millisecond for some objects with arrays."""
    return pickle.dumps(value, protocol=5)


def unpack(packed: bytes) -> Any:
    """What was packed, by another process of this run."""
    return pickle.loads(packed)  # noqa: S301


def get(ref: Ref, timeout_s: float = ANSWER_S) -> Any:
    """A result, unpacked where it was packed, with fedray's own errors as themselves.

    Args:
        ref: Of the result.
        timeout_s: How long to wait for it.

    Raises:
        ActorDied: There is none.
        NoAnswer: There is none in time.
        FedrayError: The call raised it.
    """
    try:
        answer = ray.get(ref, timeout=timeout_s)
    except GetTimeoutError:
        raise NoAnswer(f"it did not answer in {timeout_s:.0f} s") from None
    except (RayActorError, ObjectLostError, OutOfMemoryError) as error:
        raise ActorDied(reason(error)) from error
    except RayTaskError as error:
        raise explained(error) from None
    return unpack(answer) if isinstance(answer, bytes) else answer


def explained(error: RayTaskError) -> Exception:
    """Fedray's own error, raised in another process; or a sentence where a user's code is not found there."""
    if isinstance(error.cause, RaySystemError) and "No module named" in str(error.cause):
        line = next(line for line in str(error.cause).splitlines() if "No module named" in line)
        return ClusterError(
            f"an actor cannot import what the experiment needs ({line.strip()}); start fedray in the folder that holds "
            "it, or install it on every node"
        )
    return error.cause if isinstance(error.cause, FedrayError) else error


def reason(error: RayError) -> str:
    """Why an actor died, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if "creation task" in lines[0] else lines[0]
