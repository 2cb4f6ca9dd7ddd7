"""Everything fedray raises on purpose.

    FedrayError
    ├── UserError             what was asked cannot be done; the message names the setting to change (exit status 2)
    │   ├── ConfigError       a setting is unknown, of the wrong type or out of range
    │   ├── DataError         a file is missing, or its contents cannot be trained on
    │   ├── ModelError        the model does not fit the data
    │   ├── CapacityError     the machine or the cluster is too small for the placement, or the disk is full
    │   ├── ClusterError      a cluster cannot be reached
    │   ├── RunFolderError    a run folder is damaged or is not one
    │   └── TrackingError     an MLflow server cannot be used
    ├── RoundFailed           a round lost too much to go on, as the settings say
    ├── InjectedFault         a fault of the plan: raised on purpose
    └── ClientError           one client's training went wrong; the message names the client
        └── UpdateRejected    its update is not finite or does not fit the ring

Constructors take what their parent takes, so that every error survives pickling between Ray processes.
"""

from collections.abc import Sequence
from typing import Any


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


class FedrayError(Exception):
    """Base of every error fedray raises on purpose."""


class UserError(FedrayError):
    """What was asked cannot be done; the message says what, the value, and the setting to change."""


class ConfigError(UserError):
    """A setting is unknown, of the wrong type or out of range."""


class DataError(UserError):
    """A data file is missing, or its contents cannot be trained on."""


class ModelError(UserError):
    """The model does not fit the data."""


class CapacityError(UserError):
    """The machine, the cluster or the disk is too small for what was asked."""


class ClusterError(UserError):
    """A Ray cluster cannot be reached or was lost."""


class RunFolderError(UserError):
    """A run folder is damaged, or is not a run folder."""


class TrackingError(UserError):
    """An MLflow server cannot be used as configured."""


class RoundFailed(FedrayError):
    """A round lost too much to go on.

    Args:
        sentence: What happened, and the setting to change.
        faults: What went wrong in the round, for the run folder: `FaultEvent`s.
    """

    def __init__(self, sentence: str, faults: Sequence[Any] = ()) -> None:
        super().__init__(sentence, tuple(faults))
        self.sentence, self.faults = sentence, tuple(faults)

    def __str__(self) -> str:
        return self.sentence


class InjectedFault(FedrayError):
    """A client's training raises on purpose, because the fault plan says so."""


class ClientError(FedrayError):
    """One client's training went wrong.

    Args:
        client: Client id.
        round: Round number, from 1.
        cause: The client's own error in one line.
        details: The client's traceback, for the run folder.
    """

    def __init__(self, client: int, round: int, cause: str, details: str = "") -> None:
        super().__init__(client, round, cause, details)
        self.client, self.round, self.cause, self.details = client, round, cause, details

    def __str__(self) -> str:
        return f"client {self.client} failed in round {self.round}: {self.cause}"


class UpdateRejected(ClientError):
    """A client's update is not finite, or too large for the ring."""

    def __str__(self) -> str:
        return f"the update of client {self.client} in round {self.round} was rejected: {self.cause}"
