"""Are two runs the same, bit for bit, and if not: from which round on, and why."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import pandas as pd

from fedray.errors import RunFolderError
from fedray.simulation.run_folder import Record, RunFolder

NEUTRAL = ("actors", "checkpoint", "tracking", "runs", "name", "rounds")
"""Settings that change no bit of a round. How many rounds there are is compared by itself."""
_RECORDED = ("cohort", "examples", "weight")
_TRAINED = ("examples", "steps", "loss")
_MACHINE = ("python", "platform", "machine", "gpu", "git_commit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that is not the same in both runs.

    Attributes:
        name: What: a setting, a package, a client.
        first: Its value in the first run; None where it has none.
        second: Its value in the second run.
    """

    name: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs beside each other.

    Attributes:
        rounds: How many rounds each has.
        compared: How many rounds both have.
        differs_from: The first round with different digests, or None where there is none.
        digests: After that round, or else after the last round that both have.
        settings: Those that may change a result and differ.
        versions: Of packages, Python and the machine, that differ; a run without environment.json has none.
        records: What `rounds.jsonl` says differently of the first round that differs, of cohort, examples and weight.
        fates: Clients with another fate in that round; None for a client that is not in the cohort.
        training: Clients of that round, in both cohorts, whose training gave other examples, steps or loss.
        are_clients_known: Whether both ledgers tell of that round.
    """

    rounds: tuple[int, int]
    compared: int
    differs_from: int | None
    digests: tuple[str, str]
    settings: tuple[Difference, ...]
    versions: tuple[Difference, ...]
    records: tuple[Difference, ...] = ()
    fates: tuple[Difference, ...] = ()
    training: tuple[Difference, ...] = ()
    are_clients_known: bool = True

    @property
    def is_same(self) -> bool:
        """Whether all rounds that both have are equal."""
        return self.differs_from is None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a JSON file."""
        return {"same": self.is_same, **asdict(self)}


def verify(first: str | Path, second: str | Path) -> Comparison:
    """Compares two runs, finished or not, by what their folders say.

    Args:
        first: A run folder.
        second: Another one.

    Raises:
        RunFolderError: One of them is none, is damaged, or has no round yet.
    """
    runs = RunFolder.open(Path(first)), RunFolder.open(Path(second))
    one, other = _rounds(runs[0]), _rounds(runs[1])
    both = sorted(one.keys() & other.keys())
    if not both:
        raise RunFolderError(f"{first} and {second} have no round in common; give two runs from their first round on")
    differing = next((round for round in both if one[round]["digest"] != other[round]["digest"]), None)
    told = both[-1] if differing is None else differing
    found = Comparison(
        rounds=(len(one), len(other)),
        compared=len(both),
        differs_from=differing,
        digests=(one[told]["digest"], other[told]["digest"]),
        settings=_differences(_settings(runs[0]), _settings(runs[1])),
        versions=_differences_of_versions(*runs),
    )
    return found if differing is None else _explain(found, runs, one[differing], other[differing])


def _explain(found: Comparison, runs: tuple[RunFolder, RunFolder], one: Record, other: Record) -> Comparison:
    """Adds what the folders say of the first round that differs."""
    records = _differences({name: one.get(name) for name in _RECORDED}, {name: other.get(name) for name in _RECORDED})
    clients, others = _clients(runs[0], one["round"]), _clients(runs[1], one["round"])
    if clients is None or others is None:
        return replace(found, records=records, are_clients_known=False)
    return replace(found, records=records, fates=_fates(clients, others), training=_training(clients, others))


def _rounds(run: RunFolder) -> dict[int, Record]:
    records = run.lines("rounds")
    if not records:
        raise RunFolderError(f"{run.path} has no finished round yet; go on with `fedray resume {run.path}`")
    for line, record in enumerate(records, start=1):
        if not (isinstance(record.get("round"), int) and isinstance(record.get("digest"), str)):
            raise RunFolderError(f"{run.path / 'rounds.jsonl'} is damaged: line {line} has no round or no digest")
    return {record["round"]: record for record in records}


def _settings(run: RunFolder) -> dict[str, Any]:
    return dict(_flat({name: value for name, value in run.config().items() if name not in NEUTRAL}))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings by their whole name: training.optimizer.lr."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(cast(Mapping[str, Any], value), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _differences_of_versions(first: RunFolder, second: RunFolder) -> tuple[Difference, ...]:
    one, other = _versions(first), _versions(second)
    return _differences(one, other) if one and other else ()


def _versions(run: RunFolder) -> dict[str, Any]:
    path = run.path / "environment.json"
    try:
        environment = dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
        packages = dict(environment.get("packages") or {})
    except (OSError, ValueError, TypeError):
        raise RunFolderError(f"{path} is damaged: it is no JSON object; remove it") from None
    return {**packages, **{name: environment[name] for name in _MACHINE if name in environment}}


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Difference, ...]:
    names = dict.fromkeys([*one, *other])
    pairs = [Difference(name=name, first=one.get(name), second=other.get(name)) for name in names]
    return tuple(pair for pair in pairs if pair.first != pair.second)


def _clients(run: RunFolder, round: int) -> pd.DataFrame | None:
    """The ledger of a round by client, or None where no checkpoint has brought it to the disk."""
    table = run.clients.read()
    if table is None:
        return None
    rows = table.to_pandas()
    missing = {"round", "client", "fate", *_TRAINED} - set(rows.columns)
    if missing:
        raise RunFolderError(f"{run.path} is damaged: the ledger has no column {min(missing)}; run again")
    rows = rows[rows["round"] == round].set_index("client").sort_index()
    return rows if len(rows) else None


def _fates(one: pd.DataFrame, other: pd.DataFrame) -> tuple[Difference, ...]:
    """Clients with another fate. An update that came at a second attempt has the same bits: retried is ok."""
    fates = [rows["fate"].replace("retried", "ok").rename(index=str).to_dict() for rows in (one, other)]
    return _differences(fates[0], fates[1])


def _training(one: pd.DataFrame, other: pd.DataFrame) -> tuple[Difference, ...]:
    """Clients of both cohorts whose training went another way, though it began with the same parameters."""
    both = one.index.intersection(other.index)
    columns = {name: (one.loc[both, name].tolist(), other.loc[both, name].tolist()) for name in _TRAINED}
    found: list[Difference] = []
    for place, client in enumerate(both):
        pairs = {name: (values[0][place], values[1][place]) for name, values in columns.items()}
        unlike = {name: pair for name, pair in pairs.items() if not _is_equal(*pair)}
        if unlike:
            first, second = ({name: pair[run] for name, pair in unlike.items()} for run in (0, 1))
            found.append(Difference(name=str(client), first=first, second=second))
    return tuple(found)


def _is_equal(one: Any, other: Any) -> bool:
    """Whether two numbers are equal; the loss of a client without an update is NaN."""
    return one == other or (one != one and other != other)
