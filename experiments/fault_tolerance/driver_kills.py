"""The driver killed by SIGKILL at 25 random moments of a run, which goes on without a hand: is the digest the same?"""

import argparse
import contextlib
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import ray
from rich.console import Console

import fedray
from experiments.fault_tolerance.runs import HERE, Cost, cost, save, start_ray
from fedray.simulation.watch import Event

_SEED = 11


class Killer:
    """Kills the driver's process at a moment of the run, told by its progress: a busy minute does not move it.

    Args:
        after: Rounds that are over then, and which part of the next one: 7.4.
        round_s: How long a round takes, about.

    Attributes:
        moment: What the run folder's checkpoints and records said then.
    """

    def __init__(self, after: float, round_s: float) -> None:
        self._rounds, self._wait_s = int(after), (after % 1) * round_s
        self._due, self._folder = threading.Event(), Path()
        self._thread = threading.Thread(target=self._kill, daemon=True)
        self._thread.start()
        self.moment = "never"

    def watch(self, event: Event) -> None:
        """Told of the run."""
        if event.kind == "folder":
            self._folder = Path(event.values["path"])
        has_begun = event.kind == "starting" and "seconds" in event.values
        if (has_begun and not self._rounds) or (event.kind == "round" and event.values["round"] == self._rounds):
            self._due.set()

    def _kill(self) -> None:
        self._due.wait()
        time.sleep(self._wait_s)  # the random moment itself
        for process in psutil.Process().children(recursive=True):  # of the Ray that this process started
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name().startswith("ray::Driver"):
                    process.kill()
                    self.moment = self._where()

    def _where(self) -> str:
        names = [path.name for path in (self._folder / "checkpoint").glob("*")]
        writing = any(name.endswith(".tmp") for name in names)
        records = self._folder / "rounds.jsonl"
        rounds = records.read_bytes().count(b"\n") if records.exists() else 0
        return f"{rounds} rounds recorded{', in the middle of a checkpoint' if writing else ''}"


def main() -> None:
    """One run left alone, then one for each moment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=25)
    kills, console = parser.parse_args().kills, Console()
    settings = fedray.load(HERE / "driver.yaml")
    start_ray()
    calm = cost("left alone", fedray.run(settings))
    costs: list[Cost] = [calm]
    round_s = calm.rounds_s / settings.rounds
    for number, part in enumerate(np.random.default_rng(_SEED).uniform(size=kills), start=1):
        killer = Killer(part * (settings.rounds - 1), round_s)
        result = cost(f"kill {number}", fedray.run(settings, on_event=killer.watch))
        costs.append(result)
        same = "equal" if result.digest == calm.digest else "DIFFERENT"
        console.print(f"kill {number}: {killer.moment}; drivers that died: {result.driver_deaths}; digest {same}")
    ray.shutdown()
    save("driver_kills", costs)
    killed = [one for one in costs[1:] if one.driver_deaths]
    equal = sum(one.digest == calm.digest for one in killed)
    console.print(
        f"{len(killed)} of {kills} kills hit; {equal} of {len(killed)} runs end with digest {calm.digest[:12]}"
    )


if __name__ == "__main__":
    main()
