# ruff: noqa: E501
"""What a user did wrong ends in one sentence and exit status 2, before anything is written."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import TINY, Ended, assert_refused, fedray, write

MODULE = """
import numpy as np
import torch
from torch import nn
from fedray import DataConfig, Partition, PartitionConfig
from fedray.data.base import GeneratedDataConfig

class BrokenInit(nn.Module):
    def __init__(self, width=3):
        raise RuntimeError("no such width")

class BrokenForward(nn.Linear):
    def __init__(self, inputs=1, outputs=1):
        super().__init__(inputs, outputs)

    def forward(self, x):
        raise RuntimeError("the kettle is on")

class WrongOutput(nn.Module):
    def __init__(self, outputs=7):
        super().__init__()
        self.layer = nn.Linear(1, outputs)

    def forward(self, x):
        return self.layer(x.reshape(len(x), -1)[:, :1])

class Lazy(nn.LazyLinear):
    def __init__(self):
        super().__init__(2)

class Half(WrongOutput):
    def __init__(self):
        super().__init__(2)
        self.half()

def table(seed):
    raise OSError("the warehouse is closed")

class Generator(GeneratedDataConfig):
    name: str
    def load(self, seed):
        raise OSError("the warehouse is closed")

class FirstClientEmpty(PartitionConfig):
    name: str
    def partition(self, table, seed):
        num = len(table.train)
        return Partition(offsets=np.array([0, 0, num]), indices=np.arange(num))
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command that is refused at once."""

    words: tuple[str, ...]
    sets: tuple[str, ...] = ()
    text: dict[str, Any] | str | bytes = field(default_factory=dict)
    command: tuple[str, ...] = ()
    address: str = ""


def wrong(*words: str, sets: str = "", **more: Any) -> Case:
    return Case(words=words, sets=tuple(sets.split()), **more)


def table(path: str, label: str = "y", partition: Any = "iid") -> dict[str, Any]:
    """Settings for a file of examples."""
    data = {"name": path.rpartition(".")[2], "path": path, "label": label}
    return {"data": data, "partition": partition, "cohort": {"size": 2}}


CASES = {
    # settings
    "unknown_key": wrong("unknown key 'roundz'", "'rounds'", text={"roundz": 3}),
    "unknown_nested_key": wrong(
        "training.optimizer", "unknown key 'lrr'", "'lr'", text={"training": {"optimizer": {"name": "sgd", "lrr": 1}}}
    ),
    "unknown_key_set": wrong("unknown key 'trainig'", "'training'", sets="trainig.epochs=2"),
    "unknown_nested_key_set": wrong(
        "training.optimizer", "'momentumm'", "'momentum'", sets="training.optimizer.momentumm=0.9"
    ),
    "unknown_model": wrong("no model is called 'mlpp'", "'mlp'", sets="model=mlpp"),
    "set_without_value": wrong("'rounds' has no '='", sets="rounds"),
    "wrong_type": wrong("rounds is 'many'", "valid integer", "change rounds", sets="rounds=many"),
    "wrong_type_of_group": wrong("training is 3", sets="training=3"),
    "wrong_type_in_list": wrong("model.hidden", "'wide'", sets="model.hidden=[wide]"),
    "nothing": wrong("rounds is None", sets="rounds="),
    "rounds_0": wrong("rounds is 0", "greater than or equal to 1", "change rounds", sets="rounds=0"),
    "negative_lr": wrong("training.optimizer.lr is -1", "greater than 0", sets="training.optimizer.lr=-1"),
    "nan_lr": wrong("training.optimizer.lr is nan", "finite", sets="training.optimizer.lr=.nan"),
    "bad_name": wrong("name is '../x'", sets="name=../x"),
    "two_settings": wrong("cohort", "fraction", "set only one", sets="cohort.fraction=0.5"),
    "cohort_too_large": wrong("cohort.size is 21", "20 clients", sets="cohort.size=21"),
    "checkpoint_password": wrong("checkpoint.uri", "holds a password", sets="checkpoint.uri=s3://me:secret@bucket/x"),
    "checkpoint_no_uri": wrong("checkpoint.uri", "file:///mnt/x", sets="checkpoint.uri=/mnt/x"),
    "checkpoint_protocol": wrong("no protocol 'nowhere'", sets="checkpoint.uri=nowhere://x"),
    "checkpoint_read_only": wrong("checkpoint.uri is 'file:///proc/x'", "nothing can be saved", sets="checkpoint.uri=file:///proc/x"),
    # files
    "no_file": wrong("nowhere.yaml cannot be read", "No such file", command=("run", "nowhere.yaml")),
    "folder_for_file": wrong("Is a directory", command=("run", ".")),
    "broken_yaml": wrong("is no YAML", "line 2", text="rounds: 3\n  seed: [1\n"),
    "binary_file": wrong("is no YAML", text=b"\xff\xfe\x00\x01"),
    "list_for_mapping": wrong("holds list", "mapping", text="- rounds\n"),
    "runs_is_file": wrong("runs_is_file.yaml cannot be written", sets="runs=runs_is_file.yaml"),
    # data
    "no_data_file": wrong("nowhere.csv", "change data.path", text=table("nowhere.csv", partition=None)),
    "nan_csv": wrong("column 'a' of nan.csv", "row 2", "data.features", text=table("nan.csv")),
    "inf_csv": wrong("column 'b' of inf.csv", "row 1", text=table("inf.csv")),
    "text_csv": wrong("column 'a' of text.csv", "'red'", text=table("text.csv")),
    "no_column": wrong("no column 'yy'", "'y'", "data.label", text=table("good.csv", label="yy")),
    "nan_npz": wrong("array 'x' of nan.npz", "row 3", text=table("nan.npz")),
    "inf_target_npz": wrong("array 'y' of inf.npz", "row 0", text=table("inf.npz")),
    "broken_npz": wrong("broken.npz cannot be read", "change data.path", text=table("broken.npz")),
    "too_many_clients": wrong("for 100 clients", "partition.num_clients", text=table("good.csv", partition={"name": "iid", "num_clients": 100})),
    "empty_shard": wrong("client 0 has no examples", "change partition", text=table("good.csv", partition="mine:FirstClientEmpty")),
    "no_partition": wrong("set partition", text=table("good.csv", partition=None)),
    "fleet_with_partition": wrong("remove partition", sets="partition=iid"),
    # the user's own code
    "no_module": wrong("model.name is 'nowhere:Net'", "No module named 'nowhere'", sets="model=nowhere:Net"),
    "no_attribute": wrong("model.name is 'mine:Nett'", "Nett", sets="model=mine:Nett"),
    "no_strategy": wrong("strategy.name is 'nowhere:S'", sets="strategy=nowhere:S"),
    "no_source": wrong("data.name is 'nowhere:D'", sets="data=nowhere:D"),
    "not_a_model": wrong("model.name is 'numpy:pi'", "torch module", sets="model=numpy:pi"),
    "broken_source": wrong("data 'mine:table' failed", "the warehouse is closed", sets="data=mine:table partition=iid"),
    "broken_generator": wrong("data 'mine:Generator' failed", "the warehouse is closed", sets="data=mine:Generator"),
    # models
    "image_model": wrong("model cifar_cnn", "(channels, height, width)", "change model", sets="model=cifar_cnn"),
    "model_raises": wrong("mine:BrokenInit", "no such width", "model.args", sets="model=mine:BrokenInit"),
    "model_argument": wrong("mine:BrokenInit", "depth", "model.args", sets="model=mine:BrokenInit model.args.depth=1"),
    "forward_raises": wrong("the kettle is on", "change model", sets="model=mine:BrokenForward"),
    "wrong_output": wrong("gives (2, 7)", "needs (2, ", "change model", sets="model=mine:WrongOutput"),
    "lazy_model": wrong("lazy layers", sets="model=mine:Lazy"),
    "half_model": wrong("float16", "float32", sets="model=mine:Half"),
    # the cluster
    "ray_client": wrong("ray://head:10001", "host:6379", sets="actors.backend=ray", address="ray://head:10001"),
    "no_port": wrong("actors.address is head", "host:6379", sets="actors.backend=ray", address="head"),
    "unreachable": wrong("127.0.0.1:1", "refused", "ray start --head", sets="actors.backend=ray", address="127.0.0.1:1"),
    "unknown_host": wrong("head.invalid:6379", sets="actors.backend=ray", address="head.invalid:6379"),
    "absurd_num_cpus": wrong("actors.num_cpus is 100000", "lower actors.num_cpus", sets="actors.backend=ray actors.num_cpus=100000"),
    "both_numbers": wrong("set only one", sets="actors.num_actors=2 actors.clients_per_actor=1"),
    # the device
    "no_device": wrong("device is 'gpu'", "'cpu', 'cuda' or 'auto'", "change device", sets="device=gpu"),
    "gpu_share_without_gpu": wrong("actors.gpus_per_actor is 0.25, but device is cpu", "set device to cuda", sets="actors.gpus_per_actor=0.25"),
    "gpu_share_of_more_than_one": wrong("actors.gpus_per_actor is 2", "less than or equal to 1", sets="device=auto actors.gpus_per_actor=2"),
    "fork_with_cuda": wrong("actors.fork is true and device is cuda", "set actors.fork to auto", sets="device=cuda actors.fork=true"),
    # the command line
    "no_argument": wrong("Missing argument 'file'", "fedray run --help", command=("run",)),
    "unknown_command": wrong("'rum'", "'run'", command=("rum",)),
    "unknown_option": wrong("--adress", "--address", command=("run", "tiny.yaml", "--adress", "x")),
    "option_range": wrong("--port", command=("ui", "--port", "0")),
    "option_type": wrong("--port", "valid integer", command=("ui", "--port", "x")),
    "no_subcommand": wrong("fedray config --help", command=("config",)),
    "no_database": wrong("no MLflow database", "nowhere/mlflow.db", "fedray sync", command=("ui", "nowhere")),
    "plot_suffix": wrong("--plot is a.jpg", "a.png", command=("data", "describe", "tiny.yaml", "--plot", "a.jpg")),
    "tracking_uri": wrong("tracking.uri", "'ftp://x'", sets="tracking.uri=ftp://x"),
    # run folders
    "resume_nowhere": wrong("nowhere is no folder", command=("resume", "nowhere")),
    "resume_empty": wrong("empty is no run folder", "config.yaml", command=("resume", "empty")),
    "sync_nowhere": wrong("nowhere", "not a run folder", command=("sync", "nowhere")),
    "sync_empty": wrong("empty is not a run folder", command=("sync", "empty")),
}  # fmt: skip


if not torch.cuda.is_available():
    CASES["no_cuda"] = wrong("device is cuda, but", "torch", "set device to cpu or auto", sets="device=cuda")
    CASES["no_cuda_for_actors"] = wrong(
        "device is cuda, but", sets="device=cuda actors.backend=ray actors.gpus_per_actor=0.5"
    )


@pytest.fixture(scope="module")
def answers(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[Path, dict[str, Future[Ended]]]]:
    """The commands of all chosen tests, two at a time, in one folder; a test waits for its own."""
    folder = tmp_path_factory.mktemp("bad")
    _write_files(folder)
    chosen = [item.callspec.params["name"] for item in request.session.items if item.path == request.path]
    pool = ThreadPoolExecutor(2)
    yield folder, {name: pool.submit(_run, name, CASES[name], folder) for name in chosen}
    pool.shutdown(cancel_futures=True)


def _write_files(folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "mine.py").write_text(MODULE)
    write(folder / "tiny.yaml", TINY)
    rows = "".join(f"{i},{i}.5,{i % 2}\n" for i in range(20))
    (folder / "good.csv").write_text("a,b,y\n" + rows)
    (folder / "nan.csv").write_text("a,b,y\n1,2,0\n1,2,1\n,2,0\n" + rows)
    (folder / "inf.csv").write_text("a,b,y\n1,2,0\n1,inf,1\n" + rows)
    (folder / "text.csv").write_text("a,b,y\nred,2,0\nblue,2,1\n" + rows)
    x, y = np.ones((20, 3)), np.linspace(0, 1, 20)
    (folder / "broken.npz").write_text("a,b,y\n")
    np.savez(folder / "nan.npz", x=np.where(np.arange(20)[:, None] == 3, np.nan, x), y=y)
    np.savez(folder / "inf.npz", x=x, y=np.where(np.arange(20) == 0, np.inf, y))


def _run(name: str, case: Case, folder: Path) -> Ended:
    if case.command:
        return fedray(*case.command, folder=folder)
    file = folder / f"{name}.yaml"
    if isinstance(case.text, dict):
        write(file, {**TINY, "runs": f"runs-{name}", **case.text})
    else:
        file.write_bytes(case.text if isinstance(case.text, bytes) else case.text.encode())
    sets = [part for setting in case.sets for part in ("-s", setting)]
    address = ["--address", case.address] if case.address else []
    return fedray("run", file.name, *sets, *address, folder=folder)


@pytest.mark.parametrize("name", CASES)
def test_wrong_input_is_one_sentence_and_leaves_nothing(
    name: str, answers: tuple[Path, dict[str, Future[Ended]]]
) -> None:
    folder, ended = answers
    assert_refused(ended[name].result(), *CASES[name].words)
    assert not (folder / f"runs-{name}").exists()
    assert not (folder / "runs").exists()
    assert not (folder / "nowhere").exists()
