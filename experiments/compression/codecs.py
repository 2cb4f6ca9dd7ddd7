"""Every codec at three strengths: what is saved of the bytes, and what does the model lose?"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import fedray
from fedray.files import write_json
from fedray.report.curves import BLUE, GREEN, ORANGE

HERE = Path(__file__).parent
RESULTS = HERE / "results"
METRIC = "test/accuracy"
SETUPS: dict[str, dict[str, str]] = {
    "none": {"float32": "{}"},
    "16 bits": {
        "float16": "{up: float16}",
        "bfloat16": "{up: bfloat16}",
        "bfloat16 both": "{up: bfloat16, down: bfloat16}",
    },
    "int8": {f"int8, {bits} bits": f"{{up: {{name: int8, bits: {bits}}}}}" for bits in (8, 4, 2)},
    "QSGD": {
        f"QSGD, {levels} levels": f"{{up: {{name: qsgd, levels: {levels}, bucket: 128}}}}" for levels in (127, 7, 1)
    },
    "top-k": {f"top {part:.1%}": f"{{up: {{name: topk, fraction: {part}}}}}" for part in (0.1, 0.01, 0.001)},
    "top-k, feedback": {
        f"top {part:.1%}, feedback": f"{{up: {{name: topk, fraction: {part}}}, error_feedback: true}}"
        for part in (0.1, 0.01, 0.001)
    },
    "random-k": {f"random {part:.1%}": f"{{up: {{name: randomk, fraction: {part}}}}}" for part in (0.1, 0.01, 0.001)},
    "random-k, feedback": {
        f"random {part:.1%}, feedback": f"{{up: {{name: randomk, fraction: {part}, unbiased: false}}, "
        "error_feedback: true}"
        for part in (0.1, 0.01, 0.001)
    },
    "both ways": {
        f"int8 down, top {part:.1%} up": f"{{up: {{name: topk, fraction: {part}}}, down: int8, error_feedback: true}}"
        for part in (0.1, 0.01, 0.001)
    },
}
"""Methods, and their strengths by the settings of `compression`."""


def main() -> None:
    """A run of each, a table and a plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", nargs="*", help="settings to change, as KEY=VALUE")
    settings = parser.parse_args().settings
    found = [
        _figures(method, name, _run(name, [f"compression={compression}", *settings]))
        for method, strengths in SETUPS.items()
        for name, compression in strengths.items()
    ]
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / "codecs.json", found)
    _draw(found).savefig(RESULTS / "codecs.png", dpi=120)
    Console(width=110).print(_table(found))


def _run(name: str, settings: list[str]) -> fedray.Result:
    print(f"{name} ...", flush=True)
    return fedray.run(fedray.load(HERE / "codecs.yaml", settings))


def _figures(method: str, name: str, result: fedray.Result) -> dict[str, Any]:
    spent, accuracy = result.costs().total, result.history[METRIC].dropna()
    return {
        "method": method,
        "name": name,
        "accuracy": float(accuracy.iloc[-3:].mean()),  # of the last three evaluations: one alone is noisy
        "bytes_up": spent["bytes_up"],
        "bytes_down": spent["bytes_down"],
        "hours": spent["virtual_s"] / 3600,
        "digest": result.digest,
    }


def _table(found: list[dict[str, Any]]) -> Table:
    table = Table(title="what codecs save, and what the model loses")
    for column in ("codec", "MB up", "up, by", "MB down", "virtual min", "accuracy", "lost"):
        table.add_column(column, justify="left" if column == "codec" else "right", no_wrap=True)
    plain, before = found[0], ""
    for each in found:
        if each["method"] != before:
            table.add_section()
        before = each["method"]
        table.add_row(
            each["name"],
            f"{each['bytes_up'] / 1e6:,.2f}",
            f"{plain['bytes_up'] / each['bytes_up']:,.1f}x",
            f"{each['bytes_down'] / 1e6:,.1f}",
            f"{60 * each['hours']:.1f}",
            f"{100 * each['accuracy']:.1f} %",
            f"{100 * (plain['accuracy'] - each['accuracy']):+.1f}",
        )
    return table


def _draw(found: list[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(7.5, 4.4), layout="constrained")
    axes, plain = figure.subplots(), found[0]
    methods = [method for method in SETUPS if method not in ("none", "both ways")]
    styles = [(colour, line) for line in ("-", "--") for colour in (BLUE, GREEN, ORANGE, "black")]
    for method, (colour, line) in zip(methods, styles, strict=False):
        points = [each for each in found if each["method"] == method]
        saved = np.array([plain["bytes_up"] / each["bytes_up"] for each in points])
        accuracy = np.array([100 * each["accuracy"] for each in points])
        axes.plot(saved, accuracy, line, marker="o", markersize=4, color=colour, label=method, linewidth=1.2)
    axes.axhline(100 * plain["accuracy"], color="grey", linestyle=":", linewidth=1, label="float32")
    axes.set(xscale="log", xlabel="times fewer bytes up", ylabel="accuracy on the test set, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    return figure


if __name__ == "__main__":
    main()
