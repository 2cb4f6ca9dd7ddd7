"""What it means when a call has no answer."""

from ray.exceptions import RayError, RaySystemError, RayTaskError

from fedray.errors import ClusterError, FedrayError


class ActorDied(FedrayError):
    """The actor that had a call died before it answered, or its answer was lost with its node."""


class NoAnswer(ActorDied):
    """The actor may live, but does not answer."""


class AnswerLost(FedrayError):
    """The actor lives, but what it answered is gone."""


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
