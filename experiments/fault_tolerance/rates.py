"""Kill rates of 0 to 50 % of the blocks in every round, under replace and drop: accuracy, overhead, digest."""

import ray
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from experiments.fault_tolerance.runs import RESULTS, Cost, run, save, start_ray
from fedray.report.curves import BLUE, ORANGE

RATES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
POLICIES = ("replace", "drop")


def main() -> None:
    """Two runs for each rate, a table and a plot."""
    start_ray()
    costs: dict[tuple[str, float], Cost] = {}
    for rate in RATES:
        for policy in POLICIES:
            faults = f"faults=[{{kind: kill, blocks: {rate}, every: 1, at: during}}]" if rate else "faults=[]"
            name = f"{policy} {rate:.0%}"
            costs[policy, rate] = run(name, "rates.yaml", [faults, f"failures.on_death={policy}"])
    ray.shutdown()
    save("rates", list(costs.values()))
    Console(width=110).print(_table(costs))
    _plot(costs)


def _table(costs: dict[tuple[str, float], Cost]) -> Table:
    table = Table(title="Blocks whose actor is killed, in every round")
    for name in ("policy", "rate", "actors killed", "clients again", "weight kept", "AUPRC", "rounds s", "digest"):
        table.add_column(name, justify="right")
    for (policy, rate), one in costs.items():
        table.add_row(
            policy,
            f"{rate:.0%}",
            str(one.deaths),
            str(one.recomputed),
            f"{one.weight:.1%}",
            f"{one.metrics['test/auprc']:.4f}",
            f"{one.rounds_s:.1f}",
            one.digest[:12],
        )
    return table


def _plot(costs: dict[tuple[str, float], Cost]) -> None:
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for policy, colour, marker in zip(POLICIES, (BLUE, ORANGE), "os", strict=True):
        ours = [costs[policy, rate] for rate in RATES]
        percent = [100 * rate for rate in RATES]
        left.plot(percent, [one.metrics["test/auprc"] for one in ours], color=colour, marker=marker, label=policy)
        right.plot(percent, [one.rounds_s for one in ours], color=colour, marker=marker, label=policy)
    left.set(title="quality", ylabel="area under precision-recall, test", ylim=(0, 1))
    right.set(title="time", ylabel="wall time of all rounds, s", ylim=(0, None))
    for axes in (left, right):
        axes.set_xlabel("blocks whose actor is killed in each round, %")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    figure.savefig(RESULTS / "rates.png", dpi=120)


if __name__ == "__main__":
    main()
