"""What the records say of virtual time."""

from typing import Any

import numpy as np

from fedray.messages import Array, Ints
from fedray.server.trips import Timeline


def record(times: Timeline) -> dict[str, Any]:
    """What the record of a round says of virtual time."""
    return {
        "selecting_s": times.selecting,
        "begin_s": times.begin,
        "end_s": times.end,
        "committed": times.committed,
        "bytes": {"down": float(times.down.sum()), "up": float(times.up.sum()), "lost": float(times.lost.sum())},
        "joules": float(times.joules.sum()),
        "device_s": float((times.until - times.trips.started).sum()),
    }


def columns(times: Timeline, clients: Ints) -> dict[str, Array]:
    """Columns of the ledger.

    Args:
        times: The round.
        clients: Its clients, in the order of the ledger.
    """
    place = np.searchsorted(times.clients, clients)
    trips = times.trips.take(place)
    return {
        "started_s": trips.started,
        "until_s": times.until[place],
        "download_s": trips.download_s.astype(np.float32),
        "compute_s": trips.compute_s.astype(np.float32),
        "upload_s": trips.upload_s.astype(np.float32),
        "version": times.version[place].astype(np.int32),
        "bytes_down": times.down[place].astype(np.int64),
        "bytes_up": times.up[place].astype(np.int64),
        "joules": times.joules[place].astype(np.float32),
    }
