"""Real client actors, one client each: time to start, memory, time a round; the same with ten of them killed."""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

import fedray
from fedray.simulation.watch import Event

HERE = Path(__file__).parent
KILLED = 10


def main() -> None:
    """Runs packed, with an actor for each client, and so again while a second process kills ten of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", nargs="*", help="settings to change, as KEY=VALUE")
    parser.add_argument("--kill", type=int, metavar="PID", help="kill ten client actors below this process, and end")
    options = parser.parse_args()
    if options.kill:
        return kill(options.kill)
    console = Console(width=120)
    packed = Run([*options.settings, "actors.clients_per_actor=auto"], kills=False)
    own = Run(options.settings, kills=False)
    hit = Run(options.settings, kills=True)
    table = Table(title="one experiment, three placements")
    for name in ("", "packed", "own actors", f"{KILLED} killed"):
        table.add_column(name, justify="right")
    for row in zip(*(run.column() for run in (packed, own, hit)), strict=True):
        name, *_ = row[0]
        table.add_row(name, *(value for _, value in row))
    console.print(table)
    same = packed.digest == own.digest == hit.digest
    console.print(f"digests {'are equal' if same else 'DIFFER'}: {packed.digest}")
    return sys.exit(0 if same else 1)


class Run:
    """One run, measured from outside its actors."""

    def __init__(self, settings: list[str], kills: bool) -> None:
        self.kills, self.began, self.start_s = kills, time.perf_counter(), 0.0
        self.uss: list[int] = []
        self.pss: list[int] = []
        self.threads: list[int] = []
        self.files: list[int] = []
        self.killer: subprocess.Popen[bytes] | None = None
        self.result = fedray.run(fedray.load(HERE / "actors.yaml", settings), on_event=self.watch)
        self.digest = self.result.digest
        self.killed = self.killer.wait() if self.killer else 0

    def watch(self, event: Event) -> None:
        """Measures the actors once all of them have trained; starts the killer then."""
        if event.kind == "starting":
            print(f"{time.perf_counter() - self.began:6.1f} s  {event.values['text']}", flush=True)
        if event.kind == "starting" and "seconds" in event.values:
            self.start_s = event.values["seconds"]
        if event.kind == "round":
            print(f"{time.perf_counter() - self.began:6.1f} s  round {event.values['round']}", flush=True)
        if event.kind == "round" and event.values["round"] == 2:
            if self.kills:
                self.killer = subprocess.Popen([sys.executable, __file__, "--kill", str(os.getpid())])  # noqa: S603
            else:
                self.measure()

    def measure(self) -> None:
        """Reads what the kernel counts for each actor."""
        for process in client_actors(os.getpid()):
            memory = process.memory_full_info()
            self.uss.append(memory.uss)
            self.pss.append(memory.pss)
            self.threads.append(process.num_threads())
            self.files.append(process.num_fds())

    def column(self) -> list[tuple[str, str]]:
        """What is printed, by name."""
        history, clients = self.result.history, self.result.clients
        rounds = self.result.summary["seconds"]["rounds"] / self.result.summary["rounds"]
        return [
            ("processes that trained", str(clients["pid"].nunique())),
            ("seconds to start", f"{self.start_s:.1f}"),
            ("seconds a round", f"{rounds:.2f}"),
            ("private MB of an actor (USS), mean and most", figures(self.uss, 1e6)),
            ("with its part of what is shared (PSS)", figures(self.pss, 1e6)),
            ("threads", figures(self.threads, 1)),
            ("open files", figures(self.files, 1)),
            ("killed by SIGKILL", str(KILLED if self.kills else 0)),
            ("deaths in the records", str(history["deaths"].sum())),
            ("clients that were trained again", str((clients["fate"] == "retried").sum())),
            ("digest", self.digest[:16]),
        ]


def figures(values: list[int], unit: float) -> str:
    """Mean and maximum."""
    return f"{sum(values) / len(values) / unit:.1f}, {max(values) / unit:.1f}" if values else "-"


def client_actors(root: int) -> list[psutil.Process]:
    """Processes of client actors on the Ray that a process started."""
    raylets = {str(child.pid) for child in psutil.Process(root).children() if child.name() == "raylet"}
    found: list[psutil.Process] = []
    for process in psutil.process_iter(["cmdline"]):
        if any(word.startswith("ray::ClientActor") for word in (process.info["cmdline"] or [])[:1]):
            try:
                mine = process.environ().get("RAY_RAYLET_PID") in raylets
            except psutil.Error:
                continue
            if mine:
                found.append(process)
    return found


def kill(root: int) -> None:
    """Kills client actors with SIGKILL, one after another, whatever they do."""
    chosen = random.Random(time.time_ns()).sample(client_actors(root), KILLED)
    for process in chosen:
        os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.3)


if __name__ == "__main__":
    main()
