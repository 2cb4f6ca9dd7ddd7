"""What a run shows in the terminal: a live line on a terminal, plain lines elsewhere, and a table at the end."""

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from fedray.report.duration import span
from fedray.report.result import Result
from fedray.simulation.watch import Event

_LINE_EVERY_S = 1.0
_COMPARED = ("rmse", "mae", "nasa_score", "accuracy", "balanced_accuracy", "recall", "auprc", "macro_f1", "loss")


class Display:
    """Shows the events of a run; use it as a context and give it to `run` as `on_event`.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._plain_until = 0.0
        self._headline = "accuracy"
        self._last: dict[str, float] = {}
        self._bytes = 0
        self._rate = 0.0
        self._bar = Progress(
            TextColumn("round {task.fields[round]}/{task.fields[rounds]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[clients]}/{task.fields[cohort]} clients"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        getattr(self, f"_on_{event.kind}")(**event.values)

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _on_placement(self, placement: Any, cluster: Any) -> None:
        nodes = "1 node" if cluster.nodes == 1 else f"{cluster.nodes} nodes"
        memory = cluster.memory_bytes / 1e9
        self._say(
            f"placement    {placement}, on {nodes} with {cluster.cpus:g} processors and {memory:.1f} GB for actors"
        )

    def _on_folder(self, path: str, plan: Any) -> None:
        self._headline = plan.workload.task.headline
        self._say(
            f"experiment   {plan.name}: {plan.cohort_size} of {plan.num_clients} clients a round, {plan.rounds} rounds"
        )
        self._say(f"engine       {plan.workload.engine.name}: {plan.workload.engine.why}")
        self._say(f"run folder   {path}")
        fields: dict[str, Any] = {
            "round": 0,
            "rounds": plan.rounds,
            "clients": 0,
            "cohort": plan.cohort_size,
            "text": "",
        }
        self._task = self._bar.add_task("", total=plan.rounds * plan.cohort_size, start=False, **fields)

    def _on_starting(self, text: str, seconds: float | None = None) -> None:
        if seconds is not None:
            self._say(f"started      in {seconds:.1f} s; {text}")
            if self._task is not None:
                self._bar.start_task(self._task)

    def _on_block(self, round: int, clients: int, cohort: int) -> None:
        if self._task is not None:
            done = (round - 1) * cohort + clients
            self._bar.update(self._task, completed=done, round=round, clients=clients, cohort=cohort)

    def _on_round(self, **record: Any) -> None:
        self._last |= record["metrics"]
        self._bytes += sum(record["bytes"].values())
        self._rate = record["trained"] / record["seconds"]["train"]
        if self._task is not None:
            self._bar.update(self._task, text=self._numbers())
        now, is_last = time.monotonic(), record["round"] == record["rounds"]
        if not self.console.is_terminal and (now >= self._plain_until or is_last):
            self._plain_until = now + _LINE_EVERY_S
            self._say(f"round {record['round']:>4}/{record['rounds']}  {self._numbers()}")

    def _numbers(self) -> str:
        parts = [f"{self._rate:,.0f} clients/s", f"loss {self._last['train/loss']:.4f}"]
        rare = ("test/auprc",) if "test/recall" in self._last else ()  # two classes: accuracy hides rare faults
        for name in (f"test/{self._headline}", *rare, f"clients/{self._headline}"):
            if name in self._last:
                parts.append(f"{name.replace('/', ' ')} {self._last[name]:.4f}")
        return "  ".join([*parts, f"{self._bytes / 1e6:,.1f} MB moved"])

    def _on_stopping(self) -> None:
        self._say("stopping     what is done is saved; Ctrl-C again ends at once")

    def _on_baseline(self, text: str) -> None:
        self._say(f"baseline     {text}")

    def _on_pool(self, text: str) -> None:
        self._say(f"actors       {text}")

    def _on_warning(self, text: str) -> None:
        self._say(f"warning      {text}")

    def _on_tracking(self, report: Any) -> None:
        self._say(str(report))


def show_result(console: Console, result: Result) -> None:
    """The table at the end of a run, and where everything is."""
    summary = result.summary
    if result.state == "interrupted":
        console.print(
            f"stopped after round {len(result.history)}; go on with: fedray resume {result.folder}",
            highlight=False,
            soft_wrap=True,
        )
        return
    comparison = result.comparison()
    names = [name for name in _COMPARED if f"test/{name}" in comparison]
    if names:
        table = Table(title=f"{result.config['name']}: the test set after {summary['rounds']} rounds")
        table.add_column("")
        for name in names:
            table.add_column(name.replace("_", " "), justify="right")
        for row in comparison.itertuples():
            values = dict(zip(comparison.columns, row[1:], strict=True))
            table.add_row(str(row[0]), *(f"{values[f'test/{name}']:.4g}" for name in names))
        console.print(table)
    _show_clients(console, result)
    seconds, memory = summary["seconds"]["rounds"], summary["memory_bytes"]
    console.print(
        f"{summary['rounds']} rounds in {seconds:.1f} s, {summary['clients_per_s']:,.0f} clients/s; peak memory "
        f"{memory['driver'] / 1e6:.0f} MB in the driver, {memory['host'] / 1e6:.0f} MB in a client actor",
        highlight=False,
        soft_wrap=True,
    )
    if "virtual" in summary:
        virtual = summary["virtual"]
        moved = (virtual["bytes"]["down"] + virtual["bytes"]["up"]) / 1e6
        console.print(
            f"virtual time {span(virtual['end_s'])}; devices gave {span(virtual['device_s'])} of theirs and moved "
            f"{moved:,.1f} MB (fedray timeline {result.folder})",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"digest       {result.digest}", highlight=False, soft_wrap=True)
    console.print(f"run folder   {result.folder}", highlight=False, soft_wrap=True)
    if result.config["tracking"]["enabled"]:
        where = result.config["tracking"]["uri"] or f"fedray ui {result.folder.parent}"
        console.print(f"MLflow UI    {where}", highlight=False, soft_wrap=True)


def _show_clients(console: Console, result: Result) -> None:
    """How the clients fare with the model, where they evaluated it."""
    spread = {
        name: value for name, value in result.metrics.items() if "_p" in name or "_mean" in name or "_worst" in name
    }
    if spread:
        parts = [f"{name.split('_')[-1]} {value:.4g}" for name, value in spread.items()]
        headline = next(iter(spread)).removeprefix("clients/").rsplit("_", 1)[0]
        console.print(f"clients' own {headline}: {', '.join(parts)}", highlight=False, soft_wrap=True)
