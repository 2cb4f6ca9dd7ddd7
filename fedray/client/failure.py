"""What went wrong on a client, as a value."""

import traceback

from fedray.messages import Failure


def failed(error: Exception) -> Failure:
    """The failure of a client whose work raised; called where the error is handled."""
    cause = f"{type(error).__name__}: {error}".splitlines()[0]
    return Failure(fate="failed", cause=cause, details="".join(traceback.format_exception(error)))
