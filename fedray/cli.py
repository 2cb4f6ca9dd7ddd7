"""The command line."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

import fedray
from fedray.errors import ConfigError, FedrayError

app = typer.Typer(
    name="fedray",
    pretty_exceptions_enable=False,
    help="A distributed simulator for federated learning, on Ray: the same bits everywhere.",
)
config_app = typer.Typer(help="Look at settings.")
data_app = typer.Typer(help="Look at data.")
app.add_typer(config_app, name="config")
app.add_typer(data_app, name="data")

File = Annotated[Path, typer.Argument(help="Experiment file (YAML).", show_default=False)]
Run = Annotated[Path, typer.Argument(help="Run folder.", show_default=False)]
Sets = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="Replace a setting: -s training.epochs=2. Repeatable.")
]
Address = Annotated[str | None, typer.Option(help="Ray cluster: host:6379, or auto for the one on this machine.")]

_INTERRUPTED = 130
_UsageError: Any = typer.BadParameter.__base__
"""A mistake on the command line; typer does not export the class itself."""


def main() -> None:
    """Entry point: what a user did wrong is one sentence and exit status 2."""
    try:
        raise SystemExit(app(args=sys.argv[1:] or ["--help"], prog_name="fedray", standalone_mode=False))
    except FedrayError as error:
        _refuse(str(error))
    except _UsageError as error:
        command = error.ctx.command_path if error.ctx else "fedray"
        _refuse(f"{error.format_message().rstrip('.')}; see `{command} --help`")


def _refuse(text: str) -> NoReturn:
    print(f"fedray: {' '.join(text.split())}", file=sys.stderr)  # noqa: T201
    raise SystemExit(2)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fedray {fedray.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """A distributed simulator for federated learning, on Ray: the same bits everywhere."""


@app.command()
def run(file: File, sets: Sets = None, address: Address = None) -> None:
    """Run an experiment."""
    experiment = fedray.load(file, [*(sets or []), *_address(address)])

    from fedray.display import Display, show_result

    console = Console()
    with Display(console) as display:
        result = fedray.run(experiment, on_event=display)
    show_result(console, result)
    raise typer.Exit(_INTERRUPTED if result.state == "interrupted" else 0)


@app.command()
def resume(folder: Run, sets: Sets = None, address: Address = None) -> None:
    """Go on with a run that was stopped, from its last checkpoint."""
    from fedray.display import Display, show_result

    console = Console()
    with Display(console) as display:
        result = fedray.resume(folder, [*(sets or []), *_address(address)], on_event=display)
    show_result(console, result)
    raise typer.Exit(_INTERRUPTED if result.state == "interrupted" else 0)


def _address(address: str | None) -> list[str]:
    return [] if address is None else [f"actors.address={json.dumps(address)}"]


@app.command()
def sync(
    folder: Run,
    uri: Annotated[str | None, typer.Option(help="MLflow server or database, instead of the run's own.")] = None,
) -> None:
    """Deliver to MLflow what it lacks of a run."""
    typer.echo(fedray.sync(folder, uri=uri))


@app.command()
def doctor(address: Address = None) -> None:
    """Check this machine: what is wrong, and how to mend it."""
    from fedray.doctor import examine, show

    raise typer.Exit(show(Console(), examine(address)))


@app.command()
def ui(
    runs: Annotated[Path, typer.Argument(help="Folder that holds the run folders.")] = Path("runs"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
) -> None:
    """Show the runs in MLflow's pages, on this machine alone."""
    import os

    from fedray.tracking import ui as pages

    command = pages.command(runs, port)
    typer.echo(f'http://127.0.0.1:{port}  (choose "Model training" at the top left; Ctrl-C ends it)')
    os.execve(command[0], command, {**os.environ, **pages.VARIABLES})  # noqa: S606


@config_app.command("show")
def config_show(file: File, sets: Sets = None) -> None:
    """Print an experiment with every default."""
    import yaml

    typer.echo(yaml.safe_dump(fedray.load(file, sets or []).model_dump(mode="json"), sort_keys=False), nl=False)


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of experiment files, for editors."""
    typer.echo(json.dumps(fedray.Experiment.model_json_schema(), indent=2))


@data_app.command("describe")
def data_describe(
    file: File,
    sets: Sets = None,
    plot: Annotated[Path | None, typer.Option(help="Write a picture to this PNG file.")] = None,
) -> None:
    """Summarise the data of an experiment, and how it is cut up among clients."""
    from fedray.data import describe
    from fedray.data.picture import plot as draw
    from fedray.experiment import build_data

    if plot is not None and plot.suffix != ".png":
        raise ConfigError(f"--plot is {plot}, but pictures are PNG files; name it {plot.with_suffix('.png')}")
    data = build_data(fedray.load(file, sets or []))
    for name, value in describe.summarise(data).rows():
        typer.echo(f"{name:<26} {value}")
    if plot is not None:
        draw(data, plot)
        typer.echo(f"picture: {plot}")
