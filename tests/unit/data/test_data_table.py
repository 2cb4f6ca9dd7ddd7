import numpy as np
import pytest

from fedray.config import Config, parse
from fedray.data.base import ArrayData, Table
from fedray.data.fleet import Fleet, FleetData
from fedray.data.table import DATA, PARTITIONS, AnyData, AnyPartition, load
from fedray.errors import ConfigError, DataError


class Root(Config):
    data: AnyData = Fleet(machines=4)
    partition: AnyPartition | None = None


MODULE = """
import numpy as np
from fedray.data.base import DataConfig, GeneratedDataConfig, Table
from fedray.data.fleet import Fleet
from fedray.messages import DataSpec, Shard

def table(num=6, owned=True, seed=0):
    spec = DataSpec(features=(1,), task="classification", num_outputs=2)
    train = Shard(x=np.zeros((num, 1), np.float32), y=np.arange(num) % 2)
    return Table(train=train, test=None, spec=spec, owners=np.arange(num) % 3 if owned else None)

class Source(DataConfig):
    name: str = "mine"
    num: int
    def table(self, seed):
        return table(self.num)

class Plants(GeneratedDataConfig):
    name: str
    plants: int = 3
    def load(self, seed):
        return Fleet(machines=self.plants).load(seed)

def broken(seed):
    raise RuntimeError("no network share")

def wrong(seed):
    return 3
"""


@pytest.fixture
def own(elsewhere):
    (elsewhere / "own_data.py").write_text(MODULE)
    return "own_data"


def of(data, partition=None):
    root = parse(Root, {"data": data, "partition": partition})
    return load(root.data, root.partition, 0)


def test_every_choice_bears_its_name():
    for choices in (DATA, PARTITIONS):
        for name, cls in choices.options.items():
            assert cls.model_fields["name"].default == name
            assert cls.__doc__
            for field, info in cls.model_fields.items():
                assert field == "name" or info.description, f"{cls.__name__}.{field} has no docstring"


def test_a_generated_source_takes_no_partition():
    data = of({"name": "fleet", "machines": 3})
    assert isinstance(data, FleetData)
    assert data.num_clients == 3
    with pytest.raises(ConfigError, match=r"generates the data of each client.*remove partition"):
        of("fleet", "iid")


def test_natural_clients_are_the_default(own):
    data = of(f"{own}:table")
    assert isinstance(data, ArrayData)
    assert data.sizes.tolist() == [2, 2, 2]
    assert data.shards(np.array([2, 0]))[0].y.tolist() == data.shard(2).y.tolist()
    assert of(f"{own}:table", {"name": "iid", "num_clients": 6}).sizes.tolist() == [1] * 6


def test_a_source_without_owners_needs_a_partition(own):
    with pytest.raises(ConfigError, match=r"no natural clients; set partition"):
        of({"name": f"{own}:table", "args": {"owned": False}})


def test_imported_classes(own):
    assert of({"name": f"{own}:Source", "args": {"num": 9}}).sizes.tolist() == [3, 3, 3]
    assert of({"name": f"{own}:Plants", "args": {"plants": 7}}).num_clients == 7
    with pytest.raises(ConfigError, match="remove partition"):
        of(f"{own}:Plants", "iid")


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"name": "own_data:Source"}, ConfigError, "num is missing"),
        ({"name": "own_data:Source", "args": {"nums": 3}}, ConfigError, "did you mean 'num'"),
        ({"name": "own_data:table", "args": {"n": 3}}, ConfigError, r"cannot be called.*change data\.args"),
        ({"name": "own_data:broken"}, DataError, "RuntimeError: no network share"),
        ({"name": "own_data:wrong"}, DataError, "gave a int, but must give a fedray Table"),
        ({"name": "own_data:nothing"}, ConfigError, "cannot be imported"),
        ("mnits", ConfigError, "no data source is called 'mnits' .did you mean 'mnist'"),
    ],
)
def test_wrong_sources_are_one_sentence(own, data, error, message):
    with pytest.raises(error, match=message):
        of(data)


def test_settings_survive_a_round_trip():
    root = parse(
        Root, {"data": {"name": "cmapss", "sensors": [2, 3]}, "partition": {"name": "dirichlet", "alpha": 0.1}}
    )
    assert parse(Root, root.model_dump(mode="json", serialize_as_any=True)) == root


def test_a_table_is_refused_with_nan():
    from fedray.messages import DataSpec, Shard

    spec = DataSpec(features=(1,), task="regression", num_outputs=1)
    with pytest.raises(DataError, match="row 1"):
        Table(train=Shard(x=np.array([[0.0], [np.nan]]), y=np.zeros(2)), test=None, spec=spec)
