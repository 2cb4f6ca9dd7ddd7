"""What a person sees of a real run in `fedray ui`: a real server, and a real browser."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch
from browser import Pages, chromium
from mlflow_servers import LIMIT_S, Server

from fedray.models.files import load
from fedray.tracking.environment import told
from fedray.tracking.preview import PREVIEW_ROWS
from fedray.tracking.state import load as load_notes

pytestmark = pytest.mark.timeout(300)

EXPERIMENT = """
name: tiny-press
seed: 3
rounds: 200
data: {name: fleet, machines: 24, target: failure}
cohort: {size: 8}
model: {name: mlp, hidden: [16]}
training: {optimizer: {name: sgd, lr: 0.0625}}
evaluation: {holdout: 0.2, clients: all, clients_every: 20}
actors: {backend: serial}
tracking: {register_model: press}
"""
FEDRAY = str(Path(sys.executable).with_name("fedray"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run made by the command line."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "tiny.yaml").write_text(EXPERIMENT)
    command = [FEDRAY, "run", str(folder / "tiny.yaml"), "-s", f"runs={folder / 'runs'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * LIMIT_S, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    [status] = (folder / "runs").glob("*/status.json")
    return status.parent


@pytest.fixture(scope="module")
def run_id(run: Path) -> str:
    notes = load_notes(run, f"sqlite:///{run.parent / 'mlflow.db'}")
    assert notes.run_id is not None
    return notes.run_id


@pytest.fixture(scope="module")
def server(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("ui"))
    (made.folder / "click.py").write_text("raise SystemExit('a file of the user stands in for a library')")
    made.start([FEDRAY, "ui", str(run.parent), "--port", str(made.port)], cwd=made.folder)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def pages(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """The browser, where a person gets by opening the address that `fedray ui` prints."""
    with chromium(tmp_path_factory.mktemp("chromium")) as made:
        made.open(server.uri)
        made.shows("Recent Experiments", "fedray")
        made.shot("1-home")
        made.word("Model training")
        made.click("//button[@aria-label='Close' and contains(@data-component-id, 'assistant')]")
        yield made
        console = [entry["message"] for entry in made.driver.get_log("browser") if entry["level"] == "SEVERE"]
        (made.screenshots / "console.txt").write_text("\n".join(console))


@pytest.fixture
def home(pages: Pages, server: Server) -> Pages:
    """The page of the experiment's runs, reached by clicks."""
    pages.open(f"{server.uri}/#/")
    pages.click("//a[contains(@href, '#/experiments/') and normalize-space()='fedray']")
    pages.shows("matching run")
    return pages


@pytest.fixture
def opened(home: Pages) -> Pages:
    """The page of the run, reached by clicks."""
    home.link("tiny-press")
    home.shows("About this run")
    return home


def test_run_is_in_the_list_with_its_source_and_its_model(home: Pages):
    home.shows("1 matching run", "tiny-press", "fedray run tiny.yaml", "press", "v1")
    home.shot("2-runs")


def test_run_says_how_it_was_made_and_with_what(opened: Pages):
    opened.shows("Finished", "fedray run tiny.yaml", "fedray.version.ray", "fedray.digest", "press")
    opened.shot("3-run")
    opened.search("Search parameters", "training.optimizer.lr")
    opened.shows("training.optimizer.lr\n0.0625")
    parameters = opened.driver.find_element("xpath", "//input[contains(@placeholder, 'Search parameters')]")
    opened.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", parameters)
    opened.shot("4-parameters")


def test_curves_are_drawn_through_every_round_of_the_run_folder(opened: Pages, run: Path):
    opened.tab("Model metrics")
    opened.shows("Add chart")
    opened.curve("clients/accuracy")
    opened.shot("5-metrics")
    rounds = [json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()]
    for key in ("train/loss", "test/accuracy", "clients/accuracy_p10"):
        opened.search("Search metric charts", f"^{key}$")
        curve = opened.curve(key)
        opened.shot(f"6-curve-{key.replace('/', '-')}")
        expected = {record["round"]: record["metrics"][key] for record in rounds if key in record["metrics"]}
        assert dict(zip(curve["x"], curve["y"], strict=True)) == expected


def test_system_metrics_have_a_tab(opened: Pages, run: Path):
    if len((run / "system.jsonl").read_text().splitlines()) == 0:
        pytest.skip("the run was over before the first sample of the machine")
    opened.tab("System metrics")
    opened.shows("cpu_utilization_percentage", "system_memory_usage_megabytes")
    opened.until(
        lambda: opened.driver.find_elements("css selector", ".js-plotly-plot .xtick, .js-plotly-plot .bars"), "chart"
    )
    opened.shot("7-system")


def test_table_of_clients_is_downloadable_and_its_last_rows_are_shown(opened: Pages, run: Path, run_id: str):
    opened.tab("Artifacts")
    opened.shows("clients.parquet", "evaluations.parquet", "config.yaml", "rounds.jsonl", "summary.json")
    opened.word(f"clients_last_{PREVIEW_ROWS}.csv")
    opened.shows("Previewing the first 500 rows", "attempts")
    opened.shot("8-clients")
    opened.word("config.yaml")
    opened.shows("optimizer:")
    opened.shot("9-config")
    artifacts = run.parent / "mlartifacts" / run_id / "artifacts"
    table = pq.read_table(artifacts / "clients.parquet")
    assert table.equals(pq.read_table(run / "clients.parquet"))
    shown = pyarrow.csv.read_csv(artifacts / f"clients_last_{PREVIEW_ROWS}.csv")
    assert table.num_rows > shown.num_rows == PREVIEW_ROWS
    for column in ("round", "client", "fate"):
        assert shown[column].to_pylist() == table[column].to_pylist()[-PREVIEW_ROWS:]


def test_model_is_under_the_run_with_its_signature(home: Pages):
    home.link("Models")
    home.shows("Ready", "tiny-press")
    home.shot("10-models")
    home.link("model")
    home.shows("About this logged model", "press")
    home.shot("11-model")
    home.word("Artifacts")
    home.word("MLmodel")
    home.shows("signature:", "fedray.tracking.loader")
    home.shot("12-model-files")
    home.word("Overview")
    home.click("//a[contains(@href, '/models/press/versions/1')]")
    home.shows("Inputs (1)", "Outputs (1)")
    home.shot("13-registered")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow", "ignore::FutureWarning:mlflow")
def test_logged_model_answers_as_torch_does(run: Path, run_id: str):
    from mlflow import MlflowClient, pyfunc, set_tracking_uri
    from mlflow.models import Model

    store = f"sqlite:///{run.parent / 'mlflow.db'}"
    with told(timeout_s=10):
        [output] = MlflowClient(store).get_run(run_id).outputs.model_outputs
        set_tracking_uri(store)
        try:
            uri = f"models:/{output.model_id}"
            examples = Model.load(uri).load_input_example(uri)
            answers = pyfunc.load_model(uri).predict(examples)
        finally:
            set_tracking_uri(None)
    with np.load(run / "input_example.npz") as file:
        x = file["x"][: len(examples)]
    np.testing.assert_array_equal(np.asarray(examples, dtype=np.float32), x)
    with torch.inference_mode():
        np.testing.assert_array_equal(answers, load(run).eval()(torch.from_numpy(x)).numpy())
