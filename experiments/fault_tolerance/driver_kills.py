"""The driver killed by SIGKILL at 25 random moments of a run, which goes on without a hand: is the digest the same?"""

import argparse
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray
from rich.console import Console

import fedray
from experiments.fault_tolerance.runs import HERE, Cost, cost, save
from fedray.simulation.watch import Event

_SEED = 11


class Killer:
    """Kills the driver's process so many seconds after the first round has begun.

    Args:
        after_s: When.

    Attributes:
        moment: What the run folder's checkpoints and records said then.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s, self._began = after_s, threading.Event()
        self._thread = threading.Thread(target=self._kill, daemon=True)
        self._thread.start()
        self.moment, self._folder = "never", Path()

    def watch(self, event: Event) -> None:
        """Told of the run."""
        if event.kind == "folder":
            self._folder = Path(event.values["path"])
        if event.kind == "starting" and "seconds" in event.values:
            self._began.set()

    def _kill(self) -> None:
        self._began.wait()
        time.sleep(self._after_s)  # the random moment itself
        for process in psutil.Process().children(recursive=True):  # of the Ray that this process started
            if process.name().startswith("ray::Driver"):
                process.kill()
                self.moment = self._where()

    def _where(self) -> str:
        names = [path.name for path in (self._folder / "checkpoint").glob("*")]
        writing = any(name.endswith(".tmp") for name in names)
        rounds = (self._folder / "rounds.jsonl").read_bytes().count(b"\n")
        return f"{rounds} rounds recorded{', in the middle of a checkpoint' if writing else ''}"


def main() -> None:
    """One run left alone, then one for each moment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=25)
    kills, console = parser.parse_args().kills, Console()
    settings = fedray.load(HERE / "driver.yaml")
    with_ray: dict[str, Any] = {
        "num_cpus": 2,
        "include_dashboard": False,
        "log_to_driver": False,
        "logging_level": "ERROR",
    }
    ray.init(**with_ray)
    calm = cost("left alone", fedray.run(settings))
    costs: list[Cost] = [calm]
    for number, part in enumerate(np.random.default_rng(_SEED).uniform(size=kills), start=1):
        killer = Killer(part * 0.7 * calm.rounds_s)
        result = cost(f"kill {number}", fedray.run(settings, on_event=killer.watch))
        costs.append(result)
        same = "equal" if result.digest == calm.digest else "DIFFERENT"
        console.print(f"kill {number}: {killer.moment}; drivers that died: {result.driver_deaths}; digest {same}")
    ray.shutdown()
    save("driver_kills", costs)
    killed = [one for one in costs[1:] if one.driver_deaths]
    equal = sum(one.digest == calm.digest for one in killed)
    console.print(f"{equal} of {len(killed)} killed runs end with digest {calm.digest[:12]}")


if __name__ == "__main__":
    main()
