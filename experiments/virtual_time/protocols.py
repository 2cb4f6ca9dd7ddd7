"""Rounds with a deadline, with over-selection, and FedBuff: how good is the model after how many virtual hours?"""

import argparse
import os
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import fedray
from fedray.files import write_json
from fedray.report.curves import BLUE, GREEN, ORANGE
from fedray.report.timeline import timeline

HERE = Path(__file__).parent
RESULTS = HERE / "results"
_STEPS = ["cohort.size=20", "rounds=600", "evaluation.every=10"]
PROTOCOLS: dict[str, tuple[str, list[str]]] = {
    "deadline": (
        "deadline of 60 s",
        ["protocol={name: synchronous, over_selection: 1, deadline_s: 60, min_reports: 0.5}"],
    ),
    "over-selection": ("30 % over-selected", ["protocol={name: synchronous, over_selection: 1.3}"]),
    "fedbuff": (
        "FedBuff, 130 for 20",
        ["protocol={name: fedbuff, concurrency: 130, max_staleness: 60}", *_STEPS],
    ),
    "more under way": (
        "FedBuff, 400 for 20",
        ["protocol={name: fedbuff, concurrency: 400, max_staleness: 60}", *_STEPS],
    ),
}
"""Name to what it is, and the settings that make it."""
PLACES: dict[str, list[str]] = {
    "serial": ["actors.backend=serial"],
    "1 actor": ["actors.num_actors=1"],
    "2 actors": ["actors.num_actors=2", "actors.num_cpus=2"],
    "4 actors": ["actors.num_actors=4", "actors.num_cpus=2"],
    "2 actors, one killed in each round": [
        "actors.num_actors=2",
        "actors.num_cpus=2",
        "faults=[{kind: kill, every: 1, blocks: 1, at: during}]",
    ],
}
METRIC = "auprc"


def main() -> None:
    """Three runs, a table and a plot; with --digests each protocol for some rounds in all places."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--digests", type=int, metavar="ROUNDS", help="compare digests over so many rounds instead")
    parser.add_argument("settings", nargs="*", help="settings to change, as KEY=VALUE")
    options, console = parser.parse_args(), Console(width=110)
    data = os.environ.get("FEDRAY_DATA")
    common = [*([f"devices.profile.path={data}"] if data else []), *options.settings]
    if options.digests:
        _digests(options.digests, common, console)
        return
    runs = {name: _run(name, [*common, *PROTOCOLS[name][1]]) for name in PROTOCOLS}
    RESULTS.mkdir(exist_ok=True)
    target = min(frame[METRIC].max() for frame, _ in runs.values()) * 0.98
    figures = [_figures(name, *runs[name], target) for name in runs]
    write_json(RESULTS / "protocols.json", {"target": target, "runs": figures})
    _draw({name: frame for name, (frame, _) in runs.items()}, target).savefig(RESULTS / "protocols.png", dpi=120)
    console.print(_table(figures, target))


def _run(name: str, settings: list[str]) -> tuple[pd.DataFrame, Path]:
    """Virtual hours and quality of each evaluated round, and the run folder."""
    print(f"{name} ...", flush=True)
    result = fedray.run(fedray.load(HERE / "protocols.yaml", settings))
    frame = result.history[["virtual/hours", f"test/{METRIC}"]].dropna()
    return frame.set_axis(["hours", METRIC], axis=1), Path(result.folder)


def _figures(name: str, frame: pd.DataFrame, folder: Path, target: float) -> dict[str, Any]:
    found, reached = timeline(folder), frame[frame[METRIC] >= target]
    moved = {way: sum(each.bytes[way] for each in found.rounds) for way in ("down", "up", "lost")}
    return {
        "name": name,
        "what": PROTOCOLS[name][0],
        "rounds": len(found.rounds),
        "hours": found.end_s / 3600,
        "best": float(frame[METRIC].max()),
        "hours_to_target": float(reached["hours"].iloc[0]) if len(reached) else None,
        "fates": found.fates,
        "bytes": moved,
        "device_hours": sum(each.device_s for each in found.rounds) / 3600,
        "fairness": found.fairness,
    }


def _table(figures: list[dict[str, Any]], target: float) -> Table:
    table = Table(title=f"AUPRC {target:.4f} is reached after so many virtual hours")
    for column in ("protocol", "steps", "hours", "to target", "updates", "late", "vanished", "MB", "device h"):
        table.add_column(column, justify="left" if column == "protocol" else "right", no_wrap=True)
    for each in figures:
        fates, to_target = each["fates"], each["hours_to_target"]
        table.add_row(
            each["what"],
            f"{each['rounds']:,}",
            f"{each['hours']:.2f}",
            "never" if to_target is None else f"{to_target:.3f}",
            f"{fates.get('ok', 0):,}",
            f"{fates.get('late', 0):,}",
            f"{fates.get('vanished', 0):,}",
            f"{(each['bytes']['down'] + each['bytes']['up']) / 1e6:,.0f}",
            f"{each['device_hours']:,.1f}",
        )
    return table


def _draw(runs: dict[str, pd.DataFrame], target: float) -> Figure:
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    for (name, frame), colour in zip(runs.items(), (ORANGE, BLUE, GREEN, "black"), strict=True):
        axes.plot(frame["hours"], frame[METRIC], color=colour, label=PROTOCOLS[name][0])
    axes.axhline(target, color="grey", linestyle=":", linewidth=1, label="target")
    axes.set(xlabel="virtual hours", ylabel="AUPRC on the test set")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower right")
    return figure


def _digests(rounds: int, common: list[str], console: Console) -> None:
    table = Table(title=f"digest after {rounds} rounds")
    table.add_column("where")
    for name in PROTOCOLS:
        table.add_column(name)
    for place, settings in PLACES.items():
        row = list[str]()
        for name, (_, protocol) in PROTOCOLS.items():
            print(f"{name}, {place} ...", flush=True)
            result = fedray.run(
                fedray.load(HERE / "protocols.yaml", [*common, *protocol, *settings, f"rounds={rounds}"])
            )
            row.append(result.digest[:12])
        table.add_row(place, *row)
    console.print(table)


if __name__ == "__main__":
    main()
