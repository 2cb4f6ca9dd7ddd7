"""A run as its user sees it: read from the run folder, pleasant in a notebook."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from fedray.errors import RunFolderError
from fedray.models import files as model_files
from fedray.report import profile as profiles
from fedray.report.curves import figure
from fedray.simulation.run_folder import Record, RunFolder

if TYPE_CHECKING:
    import pandas as pd  # 30 MB of every process that runs experiments: taken only when a table is asked for

    from fedray.report.costs import Costs


class Result:
    """A run that has ended, or goes on.

    Args:
        folder: The run folder.

    Raises:
        RunFolderError: It is none, or it is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._records = RunFolder.open(self.folder)

    @property
    def state(self) -> str:
        """running, finished, interrupted or failed."""
        return self._records.status()["state"]

    @property
    def config(self) -> Record:
        """The experiment, every default visible."""
        return self._records.config()

    @cached_property
    def history(self) -> "pd.DataFrame":
        """One row a round: metrics, seconds by step, digest."""
        import pandas as pd

        rows = [_flat(record) for record in self._records.lines("rounds")]
        return pd.DataFrame(rows).set_index("round") if rows else pd.DataFrame()

    @cached_property
    def clients(self) -> "pd.DataFrame":
        """The ledger: one row for each (round, client)."""
        import pandas as pd

        table = self._records.clients.read()
        return table.to_pandas() if table is not None else pd.DataFrame()

    @cached_property
    def evaluations(self) -> "pd.DataFrame":
        """One row for each (round, client) that evaluated the model on its own examples."""
        import pandas as pd

        table = self._records.evaluations.read()
        return table.to_pandas() if table is not None else pd.DataFrame()

    @cached_property
    def faults(self) -> "pd.DataFrame":
        """What went wrong, planned or not: one row for each time."""
        import pandas as pd

        return pd.DataFrame(self._records.lines("faults"))

    @cached_property
    def summary(self) -> Record:
        """Final metrics, baselines, digest; empty until the run has ended."""
        return self._records.summary()

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of every metric."""
        return self.summary.get("metrics", {})

    @property
    def digest(self) -> str:
        """SHA-256 of the server's parameters after the last round.

        Raises:
            RunFolderError: No round is done yet.
        """
        rounds = self._records.lines("rounds")
        if not rounds:
            raise RunFolderError(f"{self.folder} has no finished round yet; resume it")
        return rounds[-1]["digest"]

    @cached_property
    def model(self) -> nn.Module:
        """The trained model, in evaluation mode.

        Raises:
            RunFolderError: The run has not finished.
        """
        return model_files.load(self.folder)

    def comparison(self) -> "pd.DataFrame":
        """The federation beside its baselines: one row each, one column for each metric of the test set."""
        import pandas as pd

        rows = {"federated": self.metrics, **self.summary.get("baselines", {})}
        frame = pd.DataFrame.from_dict(rows, orient="index")
        return frame[[name for name in frame.columns if name.startswith("test/")]]

    def plot(self) -> Any:
        """The curves of the run, as a matplotlib figure."""
        return figure(self.history, self.config["name"])

    def profile(self) -> profiles.Profile:
        """Where the time of the run went.

        Raises:
            RunFolderError: No round is done yet.
        """
        return profiles.profile(self.folder)

    def costs(self, *targets: str) -> "Costs":
        """What the run cost, in all, by client, and until it reached each target.

        Args:
            targets: Such as "test/auprc=0.8" or "test/loss<=0.3".

        Raises:
            RunFolderError: No round is done yet.
            ConfigError: A target is none, or the run has no such metric.
        """
        from fedray.report.costs import costs

        return costs(self.folder, targets)

    def _repr_html_(self) -> str:
        head = (
            f"<p><b>{self.config['name']}</b>: {self.state}, {len(self.history)} rounds, <code>{self.folder}</code></p>"
        )
        return head + (self.comparison().to_html(float_format="{:.4g}".format) if self.summary else "")

    def __repr__(self) -> str:
        shown = {name: round(value, 4) for name, value in self.metrics.items() if name.startswith("test/")}
        return f"<fedray run {self.config['name']}: {self.state}, {len(self.history)} rounds, {shown}, {self.folder}>"


def _flat(record: Record) -> dict[str, Any]:
    row = {name: record[name] for name in ("round", "digest", "cohort", "examples", "deaths")}
    row["trained"] = record.get("trained", record["cohort"])
    row |= {f"bytes/{name}": value for name, value in record["bytes"].items()}
    row |= record["metrics"]
    row |= {f"seconds/{name}": value for name, value in record["seconds"].items()}
    row |= {f"fates/{name}": value for name, value in record["fates"].items()}
    return row | {f"memory_bytes/{name}": value for name, value in record["memory_bytes"].items()}
