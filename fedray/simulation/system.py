"""Use of the machine during a run, sampled into the run folder under MLflow's names of system metrics."""

import threading
import time
from types import TracebackType

import psutil

from fedray.simulation.run_folder import RunFolder

_MB = 1e6
_FIRST_S = 1.0
_LAST_S = 5.0
"""How long the last sample may take: a disk that hangs has none."""


class SystemSampler:
    """Samples processor, memory, disk and network while it is open.

    Args:
        folder: Where `system.jsonl` is.
        every_s: Seconds between samples.
    """

    def __init__(self, folder: RunFolder, every_s: float = 5.0) -> None:
        self._folder, self._every_s = folder, every_s
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="system-sampler", daemon=True)

    def __enter__(self) -> "SystemSampler":
        psutil.cpu_percent()
        self._step = len(self._folder.lines("system"))
        self._network = psutil.net_io_counters()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join(_LAST_S)

    def _run(self) -> None:
        """Samples soon after the start, then now and then, and at the end: a short run has some too."""
        wait_s = min(_FIRST_S, self._every_s)
        while not self._closed.wait(wait_s):
            self._record()
            wait_s = self._every_s
        self._record()

    def _record(self) -> None:
        self._folder.append("system", {"time": time.time(), "step": self._step, "metrics": self._sample()})
        self._step += 1

    def _sample(self) -> dict[str, float]:
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(self._folder.path))
        network = psutil.net_io_counters()
        return {
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": memory.used / _MB,
            "system/system_memory_usage_percentage": memory.percent,
            "system/disk_usage_megabytes": disk.used / _MB,
            "system/disk_usage_percentage": disk.percent,
            "system/network_receive_megabytes": (network.bytes_recv - self._network.bytes_recv) / _MB,
            "system/network_transmit_megabytes": (network.bytes_sent - self._network.bytes_sent) / _MB,
        }
