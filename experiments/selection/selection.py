"""Uniform, weighted, power-of-choice, Oort and fair: how soon is the target reached, and who ever took part?"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

import fedray
from fedray.files import write_json

HERE = Path(__file__).parent
_PLAIN = "training.weighting=uniform"  # who is drawn by size, or for its size, does not count by it once more
SELECTIONS: dict[str, list[str]] = {
    "uniform": ["cohort.sampling=uniform"],
    "weighted": ["cohort.sampling=weighted", _PLAIN],
    "power of choice, reported": ["cohort.sampling=power_of_choice", _PLAIN],
    "power of choice, evaluated": ["cohort.sampling={name: power_of_choice, loss: evaluated}", _PLAIN],
    "oort": ["cohort.sampling=oort"],
    "fair": ["cohort.sampling=fair"],
}
"""Name to the settings that make it."""
METRIC = "balanced_accuracy"
_COLUMNS = {
    "rounds": "rounds to target",
    "hours_to_target": "h to target",
    "hours": "h in all",
    "best": "best",
    "worst": "worst 10 %",
    "took_part": "took part",
    "gini": "Gini",
}


def main() -> None:
    """Some runs of each selection, and a table of their means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each")
    parser.add_argument("settings", nargs="*", help="settings to change, as KEY=VALUE")
    options = parser.parse_args()
    runs = {
        name: [_run(name, seed, [*settings, *options.settings]) for seed in range(1, options.seeds + 1)]
        for name, settings in SELECTIONS.items()
    }
    targets = [
        0.98 * min(results[seed].history[f"test/{METRIC}"].max() for results in runs.values())
        for seed in range(options.seeds)
    ]
    figures = {
        name: [_figures(result, target) for result, target in zip(results, targets, strict=True)]
        for name, results in runs.items()
    }
    (HERE / "results").mkdir(exist_ok=True)
    write_json(HERE / "results" / "selection.json", {"targets": targets, "runs": figures})
    Console(width=130).print(_table(figures, targets))


def _run(name: str, seed: int, settings: list[str]) -> fedray.Result:
    print(f"{name}, seed {seed} ...", flush=True)
    return fedray.run(fedray.load(HERE / "selection.yaml", [*settings, f"seed={seed}"]))


def _figures(result: fedray.Result, target: float) -> dict[str, Any]:
    """What a run took to reach a target, and how its updates are spread over the population."""
    history, clients = result.history, result.clients
    quality = history[f"test/{METRIC}"]
    reached = history[quality >= target].iloc[0]
    times = _times(clients, int(result.summary["clients"]))
    return {
        "digest": result.digest,
        "rounds": int(reached.name),
        "hours_to_target": float(reached["virtual/hours"]),
        "hours": float(history["virtual/hours"].iloc[-1]),
        "best": float(quality.max()),
        "worst": float(history["clients/accuracy_worst10"].iloc[-1]),
        "took_part": float((times > 0).mean()),
        "gini": gini(times),
    }


def _times(clients: pd.DataFrame, num_clients: int) -> np.ndarray:
    """How many updates of each client counted."""
    return np.bincount(clients.loc[clients["fate"] == "ok", "client"], minlength=num_clients)


def gini(times: np.ndarray) -> float:
    """Gini's coefficient: 0 where all have taken part as often, near 1 where one has always."""
    rank = np.arange(1, len(times) + 1)
    return float(((2 * rank - len(times) - 1) * np.sort(times)).sum() / (len(times) * times.sum()))


def _table(figures: dict[str, list[dict[str, Any]]], targets: list[float]) -> Table:
    table = Table(title=f"{METRIC} of {', '.join(f'{t:.3f}' for t in targets)}; means, and the deviation of the hours")
    table.add_column("selection", no_wrap=True)
    for title in _COLUMNS.values():
        table.add_column(title, justify="right", no_wrap=True)
    for name, each in figures.items():
        mean = {key: float(np.mean([run[key] for run in each])) for key in _COLUMNS}
        spread = float(np.std([run["hours_to_target"] for run in each]))
        table.add_row(
            name,
            f"{mean['rounds']:.0f}",
            f"{mean['hours_to_target']:.1f} ± {spread:.1f}",
            f"{mean['hours']:.1f}",
            f"{mean['best']:.3f}",
            f"{mean['worst']:.3f}",
            f"{mean['took_part']:.0%}",
            f"{mean['gini']:.2f}",
        )
    return table


if __name__ == "__main__":
    main()
