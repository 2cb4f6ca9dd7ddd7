"""Clients that are not trained any more; a resumed run finds them in its ledger."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from fedray.messages import Failure, Ints


def of_ledger(rows: pa.Table | None) -> dict[int, str]:
    """Client to why, by the ledger of the rounds so far."""
    if rows is None or "cause" not in rows.column_names:
        return {}
    found = rows.select(["client", "fate", "cause"]).filter(pc.field("fate") == "quarantined")
    return dict(zip(found["client"].to_pylist(), found["cause"].to_pylist(), strict=True))


def of_round(dropped: Mapping[int, Failure]) -> dict[int, str]:
    """Client to why, of those that a round adds."""
    return {client: failure.cause for client, failure in dropped.items() if failure.fate == "quarantined"}


def absent(quarantined: Mapping[int, str], cohort: Ints) -> dict[int, Failure]:
    """The clients of a cohort that are not trained, each with its fate."""
    chosen = [client for client in cohort.tolist() if client in quarantined]
    return {client: Failure(fate="quarantined", cause=quarantined[client]) for client in chosen}
