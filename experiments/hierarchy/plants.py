"""Clients that train for their plant: what goes through the wide area, and what does the model lose?"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import fedray
from fedray.files import write_json
from fedray.report.curves import BLUE, GREEN, ORANGE

HERE = Path(__file__).parent
RESULTS = HERE / "results"
METRIC = "auprc"
_LINK = "up_mbps: 5, down_mbps: 20, latency_s: 0.05"
_NO_LINK = "up_mbps: null, down_mbps: null, latency_s: 0"
_NARROW = [f"devices.profile.{name}" for name in ("upload_mbps=5", "download_mbps=20", "latency_s=0.05")]


def _levels(servers: int, rounds: int, link: str = _LINK) -> str:
    return f"hierarchy={{levels: [{{name: plant, servers: {servers}, rounds: {rounds}, {link}}}]}}"


SETUPS: dict[str, list[str]] = {
    "flat, in the wide area": _NARROW,
    "flat, in one plant": [],
    "1 plant, no link": [_levels(1, 1, _NO_LINK)],
    "4 plants, a report a round": [_levels(4, 1)],
    "4 plants, a report in 2": [_levels(4, 2)],
    "4 plants, a report in 5": [_levels(4, 5)],
    "4 plants, a report in 10": [_levels(4, 10)],
}
"""What it is, and the settings that make it."""


def main() -> None:
    """A run of each, a table and a plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", nargs="*", help="settings to change, as KEY=VALUE")
    settings = parser.parse_args().settings
    runs = {name: _run(name, [*changes, *settings]) for name, changes in SETUPS.items()}
    figures = [_figures(name, result) for name, result in runs.items()]
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / "plants.json", figures)
    _draw({name: _curve(result) for name, result in runs.items()}).savefig(RESULTS / "plants.png", dpi=120)
    Console(width=110).print(_table(figures))


def _run(name: str, settings: list[str]) -> fedray.Result:
    print(f"{name} ...", flush=True)
    return fedray.run(fedray.load(HERE / "plants.yaml", settings))


def _wide(result: fedray.Result) -> pd.Series:
    """Bytes through the wide area up to each round: between plants and cloud, or all that devices moved."""
    spent = result.costs().spent
    return spent["bytes_between"] if "bytes_between" in spent else spent["bytes_down"] + spent["bytes_up"]


def _curve(result: fedray.Result) -> pd.DataFrame:
    columns = {"hours": result.history["virtual/hours"], "bytes": _wide(result)}
    return pd.DataFrame({**columns, METRIC: result.history[f"test/{METRIC}"]}).dropna()


def _figures(name: str, result: fedray.Result) -> dict[str, Any]:
    virtual = result.summary["virtual"]
    return {
        "name": name,
        "digest": result.digest,
        METRIC: result.metrics[f"test/{METRIC}"],
        "hours": virtual["end_s"] / 3600,
        "local_bytes": virtual["bytes"]["down"] + virtual["bytes"]["up"],
        "wide_bytes": float(_wide(result).iloc[-1]),
        "updates": int((result.clients["fate"] == "ok").sum()),
    }


def _table(figures: list[dict[str, Any]]) -> Table:
    table = Table(title="2,000 machines, in the wide area or in plants")
    for column in ("setup", "updates", METRIC.upper(), "virtual min", "MB devices", "MB wide area", "digest"):
        table.add_column(column, justify="left" if column in ("setup", "digest") else "right", no_wrap=True)
    for each in figures:
        table.add_row(
            each["name"],
            f"{each['updates']:,}",
            f"{each[METRIC]:.4f}",
            f"{60 * each['hours']:.2f}",
            f"{each['local_bytes'] / 1e6:,.1f}",
            f"{each['wide_bytes'] / 1e6:,.2f}",
            each["digest"][:12],
        )
    return table


def _draw(curves: dict[str, pd.DataFrame]) -> Figure:
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    shown = [name for name in curves if name not in ("flat, in one plant", "1 plant, no link")]
    for axes, (column, unit, label) in zip(
        figure.subplots(1, 2, sharey=True),
        (("hours", 1 / 60, "virtual minutes"), ("bytes", 1e6, "megabytes through the wide area")),
        strict=True,
    ):
        for name, colour in zip(shown, ("black", ORANGE, BLUE, GREEN, "grey"), strict=True):
            axes.plot(curves[name][column] / unit, curves[name][METRIC], color=colour, label=name, linewidth=1.2)
        axes.set(xlabel=label, ylabel="AUPRC on the test set" if column == "hours" else None)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    axes.set_xscale("log")
    axes.legend(frameon=False, loc="lower right", fontsize=8)
    return figure


if __name__ == "__main__":
    main()
