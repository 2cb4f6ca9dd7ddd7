"""Results of calls, and waiting for them, whichever way they come."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, ObjectLostError, OutOfMemoryError, RayActorError, RayTaskError

from fedray.runtime.frames import unpack
from fedray.runtime.lane import LaneRef, take_what_came
from fedray.runtime.lost import ActorDied, NoAnswer, explained, reason

RayRef = ray.ObjectRef[Any]
Ref = RayRef | LaneRef

ANSWER_S = 120.0
"""How long a result may take that is there already and lies on another node, or that takes no time to make."""
_TURN_S = 0.002
"""How long lanes are watched before Ray is asked, where answers may come by both."""
_CAUSE_S = 10.0
"""How long Ray may take to say why a process is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an actor is.

    Attributes:
        node: Ray's id of the node.
        pid: Process id on that node.
        lane: The name under which it waits for the driver's lane, or "".
    """

    node: str
    pid: int
    lane: str = ""


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
        answer = _by_lane(ref, timeout_s) if isinstance(ref, LaneRef) else ray.get(ref, timeout=timeout_s)
        if isinstance(answer, RayTaskError):  # Ray raises it, a lane delivers it
            raise answer.as_instanceof_cause()
    except GetTimeoutError:
        raise NoAnswer(f"it did not answer in {timeout_s:.0f} s") from None
    except (RayActorError, ObjectLostError, OutOfMemoryError) as error:
        raise ActorDied(reason(error)) from error
    except RayTaskError as error:
        raise explained(error) from None
    return unpack(answer) if isinstance(answer, bytes) else answer


def _by_lane(ref: LaneRef, timeout_s: float) -> Any:
    if not wait([ref], timeout_s):
        raise GetTimeoutError
    if ref.packed is not None:
        return unpack(ref.packed)
    if ref.lane.served is not None:
        ray.get(ref.lane.served, timeout=_CAUSE_S)  # raises: Ray knows why the actor is gone
    raise ActorDied("its process closed the lane to the driver")


def wait(refs: Sequence[Ref], timeout_s: float) -> Sequence[Ref]:
    """Those results that are on this node, or will never be; waits for the first of them.

    What lies on another node is fetched meanwhile: nobody stands in a transfer from a node that may be cut off.

    Args:
        refs: Of the results.
        timeout_s: How long to wait.
    """
    by_lane = [ref for ref in refs if isinstance(ref, LaneRef)]
    by_ray = [ref for ref in refs if not isinstance(ref, LaneRef)]
    if not by_lane:
        return list(ray.wait(by_ray, num_returns=1, timeout=timeout_s)[0])
    until = time.monotonic() + timeout_s
    done, left_s = [ref for ref in by_lane if ref.is_done], 0.0
    while not done and left_s >= 0:
        left_s = until - time.monotonic()
        take_what_came({ref.lane for ref in by_lane}, max(0.0, min(left_s, _TURN_S if by_ray else left_s)))
        done = [ref for ref in by_lane if ref.is_done]
        if by_ray and (found := ray.wait(by_ray, num_returns=1, timeout=0)[0]):
            return [*found, *done]
    return done
