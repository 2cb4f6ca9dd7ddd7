"""What a scalability study was asked for."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from fedray.config import Config
from fedray.errors import ConfigError

WARM_UP = 2
"""Rounds of a point that do not count: in the first actors come to speed, in the second the first is written, which
pays for libraries."""
Mode = Literal["strong", "weak", "both"]
Counts = tuple[Annotated[int, Field(ge=1)], ...]


class Request(Config):
    """The grid of a study. A study goes on only with the request that it was begun with."""

    clients: Annotated[Counts, Field(min_length=1)]
    """Cohort sizes; in mode weak, clients for each actor."""
    actors: Annotated[Counts, Field(min_length=1)]
    """Numbers of client actors."""
    nodes: Annotated[Counts, Field(min_length=1)] = (1,)
    """Numbers of Ray nodes."""
    repeats: Annotated[int, Field(ge=1, le=1000)] = 3
    """How often each point is measured."""
    rounds: Annotated[int, Field(gt=WARM_UP)]
    """Rounds of a point; the first ones are warm-up and left out."""
    mode: Mode = "both"
    """strong and both: every cohort with every number of actors; weak: as many clients for each actor."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Decides the order of the points."""


class Target(Config):
    """A cluster and a cohort to predict the time of."""

    actors: Annotated[int, Field(ge=1)]
    """Client actors, each on a core of its own."""
    clients: Annotated[int, Field(ge=1)]
    """Clients in a round."""


def counts(text: str, option: str) -> tuple[int, ...]:
    """Reads "100,1000,10000": whole numbers from 1, sorted, each once.

    Args:
        text: What the user wrote.
        option: The option, for the message.

    Raises:
        ConfigError: It is something else.
    """
    parts = [part.strip().replace("_", "") for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ConfigError(f"{option} is {text!r}, but must be whole numbers from 1 with commas between: {option} 1,2,4")
    return tuple(sorted({int(part) for part in parts}))


def target(text: str) -> Target:
    """Reads "actors=64,clients=100000".

    Raises:
        ConfigError: It is something else.
    """
    pairs = [part.partition("=") for part in text.split(",")]
    values: Mapping[str, str] = {name.strip(): value.strip() for name, _, value in pairs}
    whole = all(value.isdecimal() and int(value) for value in values.values())
    if set(values) != {"actors", "clients"} or len(pairs) != 2 or not whole:
        raise ConfigError(f"--predict is {text!r}; write it as --predict actors=64,clients=100000")
    return Target(actors=int(values["actors"]), clients=int(values["clients"]))
