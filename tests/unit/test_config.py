import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
import yaml

from fedray.client.engines import EngineName
from fedray.config import Choices, Config, load_object, parse
from fedray.data.table import DATA, PARTITIONS
from fedray.errors import ConfigError
from fedray.experiment import Experiment, load, override
from fedray.models.table import MODELS
from fedray.server.strategies import STRATEGIES


def sentence(**settings) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(Experiment, settings)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"trainig": {}}, "unknown key 'trainig' (did you mean 'training'?)"),
        ({"training": {"epoch": 1}}, "training: unknown key 'epoch' (did you mean 'epochs'?)"),
        ({"model": {"name": "mlp", "hiden": [3]}}, "model: unknown key 'hiden' (did you mean 'hidden'?)"),
        ({"model": "mpl"}, "model: no model is called 'mpl' (did you mean 'mlp'?)"),
        ({"strategy": "fedadm"}, "strategy: no strategy is called 'fedadm' (did you mean 'fedadam'?)"),
        ({"training": {"optimizer": "sdg"}}, "training.optimizer: no optimizer is called 'sdg' (did you mean 'sgd'?)"),
        ({"model": 3}, "model: no model is called 3 (known: softmax"),
        ({"model": {"hidden": [3]}}, "model: has no name; choose the model by name: softmax, "),
        ({"rounds": 0}, "rounds is 0, but must be greater than or equal to 1; change rounds"),
        ({"rounds": "many"}, "rounds is 'many', but must be a valid integer, unable to parse string as an integer"),
        ({"rounds": float("nan")}, "rounds is nan, but must be a finite number; change rounds"),
        ({"seed": 2**63}, f"seed is {2**63}, but must be less than {2**63}; change seed"),
        ({"name": "a b"}, "name is 'a b', but must match pattern"),
        ({"blocks": {"size": 0}}, "blocks.size is 0, but must be greater than or equal to 1; change blocks.size"),
        ({"blocks": {"size": "big"}}, "blocks.size is 'big', but must be a valid integer"),
        ({"evaluation": {"clients": "some"}}, "evaluation.clients is 'some', but must be a valid integer"),
        ({"training": [1]}, "training is [1], but must be a valid dictionary"),
        ({"tracking": {"tags": {"a": 1}}}, "tracking.tags.a is 1, but must be a valid string"),
        (
            {"training": {"optimizer": {"name": "sgd", "momentum": 1.0}}},
            "training.optimizer.momentum is 1.0, but must be less than 1; change training.optimizer.momentum",
        ),
        ({"model": {"name": "mlp", "hidden": [3, 0]}}, "model.hidden.1 is 0, but must be greater than 0"),
        (
            {"task": {"name": "classification", "class_weights": [1, -1]}},
            "task.class_weights.1 is -1, but must be greater than 0; change task.class_weights.1",
        ),
        ({"training": {"epochs": 2, "steps": 3}}, "training: epochs is 2 and steps is 3; set only one of them"),
        ({"cohort": {"size": 2, "fraction": 0.5}}, "cohort: size is 2 and fraction is 0.5; set only one of them"),
        (
            {"training": {"optimizer": {"name": "sgd", "nesterov": True}}},
            "training.optimizer: nesterov is true, but momentum is 0; set momentum, or nesterov to false",
        ),
        (
            {"training": {"proximal": 0.1}, "strategy": "fedprox"},
            "training.proximal and strategy fedprox both set the proximal term; remove training.proximal",
        ),
        (
            {"actors": {"num_actors": 2, "clients_per_actor": 3}},
            "actors: clients_per_actor and num_actors are both set; set only one of them",
        ),
    ],
)
def test_wrong_setting_is_one_sentence_that_names_it(settings: dict, text: str):
    assert sentence(**settings).startswith(text)


def test_several_wrong_settings_are_counted_once_each():
    assert sentence(rounds=0, blocks={"size": 0}, seed=-1).endswith("; change seed (and 2 more)")


def test_the_source_is_named():
    with pytest.raises(ConfigError, match=r"^a\.yaml: rounds is 0"):
        parse(Experiment, {"rounds": 0}, "a.yaml")


def test_missing_setting_is_named():
    class Inner(Config):
        depth: int

    class Outer(Config):
        inner: Inner

    with pytest.raises(ConfigError, match=r"inner\.depth is missing; set inner\.depth"):
        parse(Outer, {"inner": {}})


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Experiment().rounds = 3


def test_shorthand_is_the_same_as_a_name():
    short = parse(Experiment, {"model": "softmax", "strategy": "fedyogi", "partition": "iid"})
    long = parse(Experiment, {k: {"name": getattr(short, k).name} for k in ("model", "strategy", "partition")})
    assert short == long


def test_choices_need_an_import_path_only_where_that_is_allowed():
    class A(Config):
        name: Literal["a"] = "a"

    class Root(Config):
        a: Annotated[A, Choices("letter", {"a": A})] = A()

    assert parse(Root, {"a": "a"}) == Root()
    with pytest.raises(ConfigError, match="no letter is called 'x:y'"):
        parse(Root, {"a": "x:y"})


def test_override_replaces_nested_values():
    before = {"rounds": 3, "training": {"epochs": 2, "batch_size": 4}}
    after = override(before, ["training.epochs=5", "seed=9", "training.batch_size=null", "cohort.size=2"])
    assert after == {"rounds": 3, "training": {"epochs": 5, "batch_size": None}, "seed": 9, "cohort": {"size": 2}}
    assert before == {"rounds": 3, "training": {"epochs": 2, "batch_size": 4}}


@pytest.mark.parametrize(
    ("before", "text", "after"),
    [
        ({"model": "mlp"}, "model.hidden=[3]", {"model": {"name": "mlp", "hidden": [3]}}),
        ({"model": "my:Net"}, "model.args={a: 1}", {"model": {"name": "my:Net", "args": {"a": 1}}}),
        ({}, "training.optimizer.lr=0.05", {"training": {"optimizer": {"name": "sgd", "lr": 0.05}}}),
        ({}, "data.machines=7", {"data": {"name": "fleet", "machines": 7}}),
        ({}, "model=softmax", {"model": "softmax"}),
        ({}, "runs=a=b", {"runs": "a=b"}),
    ],
)
def test_override_knows_the_alternative_chosen(before: dict, text: str, after: dict):
    assert override(before, [text]) == after


@pytest.mark.parametrize("text", ["rounds", "=3", ""])
def test_override_without_a_value_is_refused(text: str):
    with pytest.raises(ConfigError, match="has no '='"):
        override({}, [text])


def test_override_that_is_no_yaml_is_refused():
    with pytest.raises(ConfigError, match="is no YAML; quote it"):
        override({}, ["rounds=[1"])


def test_file_and_overrides(tmp_path: Path):
    path = tmp_path / "press line.yaml"
    path.write_text("rounds: 4\nmodel: mlp\n")
    experiment = load(path, ["model.hidden=[3]", "training.optimizer.lr=1e-3"])
    assert (experiment.name, experiment.rounds, experiment.model.hidden) == ("press-line", 4, (3,))
    assert experiment.training.optimizer.lr == 0.001


@pytest.mark.parametrize(
    ("contents", "text"),
    [
        (b"a: [", "is no YAML"),
        (b"- 1", "holds list, but an experiment is a mapping"),
        (b"\xff\xfe\x00", "is no YAML"),
        (b"rounds: 0", r"e\.yaml: rounds is 0"),
    ],
)
def test_file_that_is_no_experiment_is_refused(tmp_path: Path, contents: bytes, text: str):
    (tmp_path / "e.yaml").write_bytes(contents)
    with pytest.raises(ConfigError, match=text):
        load(tmp_path / "e.yaml")
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.yaml")


def test_file_with_a_long_name(tmp_path: Path):
    path = tmp_path / f"_{'a' * 150}.yaml"
    path.write_text("")
    assert load(path).name == "a" * 100


def test_empty_file_is_the_defaults(tmp_path: Path):
    (tmp_path / "e.yaml").write_text("")
    assert load(tmp_path / "e.yaml") == Experiment(name="e")


def alternatives():
    needed = {"csv": {"path": "a.csv", "label": "y"}, "parquet": {"path": "a.parquet", "label": "y"}}
    needed |= {"npz": {"path": "a.npz"}}
    partitions = {"iid": {"num_clients": 3}}
    for kind, choices in (("data", DATA), ("partition", PARTITIONS), ("model", MODELS), ("strategy", STRATEGIES)):
        for name in choices.options:
            more = {"data": needed, "partition": partitions}.get(kind, {}).get(name, {})
            yield pytest.param(kind, choices, {"name": name, **more}, id=f"{kind}-{name}")
        yield pytest.param(kind, choices, {"name": "my.module:Thing", "args": {"a": [1, 2]}}, id=f"{kind}-imported")


@pytest.mark.parametrize(("kind", "choices", "setting"), list(alternatives()))
def test_resolved_config_round_trips_through_yaml(kind: str, choices: Choices, setting: dict):
    required = {
        name: "x"
        for name, field in choices.options.get(setting["name"], Config).model_fields.items()
        if field.is_required() and name not in setting
    }
    experiment = parse(Experiment, {kind: {**setting, **required}})
    text = yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False)
    again = parse(Experiment, yaml.safe_load(text))
    assert again == experiment
    assert type(getattr(again, kind)) is type(getattr(experiment, kind))


def test_defaults_round_trip_and_every_default_is_visible():
    dumped = Experiment().model_dump(mode="json")
    assert parse(Experiment, dumped) == Experiment()
    assert dumped["training"]["optimizer"] == {
        "name": "sgd",
        "lr": 0.1,
        "weight_decay": 0.0,
        "momentum": 0.0,
        "nesterov": False,
    }


def test_schema_is_json_and_says_what_each_setting_is():
    schema = json.loads(json.dumps(Experiment.model_json_schema()))
    assert schema["properties"]["rounds"]["description"] == "Rounds of training."
    assert schema["additionalProperties"] is False
    undescribed = [
        (title, name)
        for title, part in schema["$defs"].items()
        for name, field in part.get("properties", {}).items()
        if "description" not in field and name not in ("name", "kind")
    ]
    assert undescribed == []


def test_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "found_in_cwd.py").write_text("class A:\n    b = 3\nx = 1 / 1\n")
    (tmp_path / "broken_on_import.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load_object("found_in_cwd:A.b", "model.name") == 3
    for path, reason in [
        ("found_in_cwd:C", "AttributeError"),
        ("found_in_cwd:", "AttributeError"),
        ("no_such_module:C", "ModuleNotFoundError"),
        ("broken_on_import:C", "ZeroDivisionError"),
        (":C", "ValueError"),
    ]:
        with pytest.raises(ConfigError, match=f"model.name is '{path}', which cannot be imported \\({reason}"):
            load_object(path, "model.name")


@pytest.mark.parametrize(
    ("size", "cohort", "engine", "passes", "wanted"),
    [
        ("auto", 5, "sequential", 20, 1),
        ("auto", 17, "sequential", 20, 1),
        ("auto", 10**6, "sequential", 20, 64),
        ("auto", 5, "vectorised", 100, 2),
        ("auto", 20, "vectorised", 100, 5),
        ("auto", 100, "vectorised", 100, 25),
        ("auto", 200, "vectorised", 100, 50),
        ("auto", 200, "vectorised", 1000, 25),
        ("auto", 1000, "vectorised", 20, 250),
        ("auto", 10**6, "vectorised", 20, 256),
        ("auto", 10**6, "vectorised", 1, 5000),
        (7, 5, "sequential", 20, 7),
        (7, 5, "vectorised", 20, 7),
    ],
)
def test_block_size(size: int | str, cohort: int, engine: EngineName, passes: float, wanted: int):
    assert parse(Experiment, {"blocks": {"size": size}}).blocks.resolve(cohort, engine, passes) == wanted


def test_auto_blocks_are_at_least_16_where_there_are_clients_enough():
    blocks = Experiment().blocks
    cohorts = np.arange(16, 3000)
    assert min(-(-c // blocks.resolve(c, "sequential", 20)) for c in cohorts.tolist()) >= 16


@pytest.mark.parametrize(("cohort", "size", "wanted"), [(100, "auto", 100), (1000, "auto", 128), (1000, 30, 30)])
def test_blocks_on_a_gpu_fill_a_stack(cohort: int, size, wanted: int):
    blocks = parse(Experiment, {"blocks": {"size": size}}).blocks
    assert blocks.resolve(cohort, "vectorised", 100, rows=128) == wanted
    assert blocks.resolve(cohort, "sequential", 100, rows=128) == blocks.resolve(cohort, "sequential", 100)
