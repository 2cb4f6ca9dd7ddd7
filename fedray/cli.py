"""The command line."""

import json
import sys
from collections.abc import Callable
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
    """Deliver to MLflow what it lacks of a run, or of a scalability study."""
    from fedray.tracking.study import is_study, sync_study

    typer.echo(sync_study(folder, uri=uri) if is_study(folder) else fedray.sync(folder, uri=uri))


def _write_json(what: str, values: dict[str, Any], file: Path | None) -> None:
    if file is None:
        return
    from fedray.files import write_json

    write_json(file, values)
    typer.echo(f"{what:<12} {file}")


def _draw(draw: Callable[[Any, Path, str], None], found: Any, file: Path | None, name: str) -> None:
    if file is None:
        return
    from fedray.files import disk_errors

    with disk_errors(file):
        draw(found, file, name)
    typer.echo(f"picture      {file}")


@app.command()
def profile(
    folder: Run,
    plot: Annotated[Path | None, typer.Option(help="Write a picture to this PNG file.")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this JSON file.")] = None,
) -> None:
    """Show where the time of a run went: its steps, its actors, its slowest round."""
    from fedray.report.profile import profile as read
    from fedray.report.profile_figure import plot as draw
    from fedray.report.profile_table import show

    _check_png(plot)
    found = read(folder)
    name = folder.resolve().name
    show(Console(), found, name)
    _draw(draw, found, plot, name)
    _write_json("figures", found.to_dict(), as_json)


@app.command()
def explain(
    folder: Run,
    rounds: Annotated[int, typer.Option(min=0, help="How many of the most costly rounds to show.")] = 10,
    plot: Annotated[Path | None, typer.Option(help="Write a picture to this PNG file.")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write all that was found to this JSON file.")] = None,
) -> None:
    """Tell what went wrong in a run, planned or not: what it cost, and whether it changed the result."""
    from fedray.report.explain import explain as read
    from fedray.report.explain_figure import plot as draw
    from fedray.report.explain_table import show

    _check_png(plot)
    found = read(folder)
    name = folder.resolve().name
    show(Console(), found, name, rounds)
    _draw(draw, found, plot, name)
    _write_json("findings", found.to_dict(), as_json)


@app.command()
def timeline(
    folder: Run,
    round: Annotated[int | None, typer.Option(min=1, help="The round whose devices to draw.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a picture to this PNG file.")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this JSON file.")] = None,
) -> None:
    """Tell what simulated devices did in virtual time: rounds, who was late or lost, bytes, energy."""
    from fedray.report.timeline import timeline as read
    from fedray.report.timeline_figure import plot as draw
    from fedray.report.timeline_table import show

    _check_png(plot)
    found = read(folder, round)
    name = folder.resolve().name
    show(Console(), found, name)
    _draw(draw, found, plot, name)
    _write_json("figures", found.to_dict(), as_json)


@app.command()
def costs(
    folder: Run,
    targets: Annotated[
        list[str] | None,
        typer.Option("--target", help="Metric to reach: test/auprc=0.8, or 'test/loss<=0.3' with quotes. Repeatable."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a picture to this PNG file.")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this JSON file.")] = None,
) -> None:
    """Tell what a run cost: bytes, device-hours, energy, in all and by client, and until a metric reached a target.

    METRIC=VALUE wants at least VALUE, of a loss or an error at most; METRIC>=VALUE and METRIC<=VALUE say which. Metrics
    are known in the rounds that were evaluated (evaluation.every): the first of them that reached the target counts.
    """
    from fedray.report.costs import costs as read
    from fedray.report.costs_figure import plot as draw
    from fedray.report.costs_table import show

    _check_png(plot)
    found = read(folder, targets or [])
    name = folder.resolve().name
    show(Console(), found, name)
    _draw(draw, found, plot, name)
    _write_json("figures", found.to_dict(), as_json)


@app.command()
def verify(
    first: Run,
    second: Run,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write all that was found to this JSON file.")] = None,
) -> None:
    """Tell whether two runs are the same, bit for bit, and if not, from which round on and why.

    Exit status: 0 the same, 1 different, 2 no run folder.
    """
    from fedray.report.verify import verify as compare
    from fedray.report.verify_table import show

    found = compare(first, second)
    show(Console(), found, (first.resolve().name, second.resolve().name))
    _write_json("findings", found.to_dict(), as_json)
    raise typer.Exit(0 if found.is_same else 1)


@app.command()
def scale(
    file: Annotated[Path | None, typer.Argument(help="Experiment file (YAML); not with --resume.")] = None,
    clients: Annotated[str | None, typer.Option(help="Cohort sizes: 100,1000,10000.")] = None,
    actors: Annotated[str | None, typer.Option(help="Numbers of client actors: 1,2,4.")] = None,
    nodes: Annotated[str, typer.Option(help="Numbers of Ray nodes, started on this machine: 1,2.")] = "1",
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="How often each point is measured.")] = 3,
    rounds: Annotated[
        int | None, typer.Option(help="Rounds of a point, the first two left out; the experiment's own if not given.")
    ] = None,
    mode: Annotated[
        str,
        typer.Option(help="strong, both: every cohort with every number of actors; weak: --clients an actor."),
    ] = "both",
    seed: Annotated[int, typer.Option(min=0, help="Decides the order of the points.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Study folder; a study that is there goes on.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the study in this folder.")] = None,
    predict: Annotated[
        list[str] | None, typer.Option(help="Cluster to predict: actors=64,clients=100000. Repeatable.")
    ] = None,
    fit_oversubscribed: Annotated[
        bool, typer.Option("--fit-oversubscribed", help="Fit points with more actors than cores too.")
    ] = False,
    sets: Sets = None,
    address: Address = None,
) -> None:
    """Study how an experiment scales: a grid of runs, a cost model, and what it says of a larger cluster.

    Each point of the grid CLIENTS x ACTORS (x NODES) is a run of its own, REPEATS times, in random order. Runs of the
    same cohort must give the same bits. Tables, pictures and study.json are in the study folder; Ctrl-C stops, and
    --resume FOLDER (or the same command with the same --out) goes on.
    """
    from fedray.scaling import command

    if resume is not None:
        experiment, request, path = command.again(resume, file or clients or actors or out or sets or address)
    elif file is None or clients is None or actors is None:
        raise ConfigError("a study needs an experiment file, --clients and --actors; or --resume FOLDER")
    else:
        overrides = [*(sets or []), *_address(address)]
        experiment, request = command.begin(file, overrides, clients, actors, nodes, repeats, rounds, mode, seed)
        path = out or command.default_folder(experiment)
    wanted = command.targets(predict or [])
    raise typer.Exit(command.run(Console(), experiment, request, path, wanted, fit_oversubscribed))


def _check_png(plot: Path | None) -> None:
    if plot is not None and plot.suffix != ".png":
        raise ConfigError(f"--plot is {plot}, but pictures are PNG files; name it {plot.with_suffix('.png')}")


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

    _check_png(plot)
    data = build_data(fedray.load(file, sets or []))
    for name, value in describe.summarise(data).rows():
        typer.echo(f"{name:<26} {value}")
    if plot is not None:
        draw(data, plot)
        typer.echo(f"picture: {plot}")
