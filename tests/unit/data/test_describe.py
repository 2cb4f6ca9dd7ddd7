import numpy as np
import pytest
from handmade import make_table

from fedray.data.base import ArrayData
from fedray.data.describe import summarise
from fedray.data.fleet import Fleet
from fedray.data.partition.natural import Natural
from fedray.data.picture import plot


def data_of(labels, owners):
    table = make_table(labels, owners=owners)
    return ArrayData(table, Natural().partition(table, 0))


def test_exact_numbers_of_three_clients():
    summary = summarise(data_of([0, 0, 1, 1, 0, 1], [0, 0, 1, 1, 2, 2]))
    assert (summary.num_clients, summary.num_examples, summary.num_test) == (3, 6, 0)
    assert summary.size_quantiles == (2, 2, 2, 2, 2)
    assert summary.shares.tolist() == [0.5, 0.5]
    assert summary.classes_per_client == 1
    assert summary.label_distance == pytest.approx(1 / 3)
    assert summary.clients_looked_at == 3
    assert dict(summary.rows())["labels"] == "0 50.0%, 1 50.0%"


def test_regression_targets_are_counted_in_quantiles():
    summary = summarise(data_of(np.arange(100, dtype=np.float32), np.arange(100) // 10))
    assert len(summary.names) == 10
    assert summary.shares.tolist() == pytest.approx([0.1] * 10)
    assert summary.label_distance == pytest.approx(0.9)
    constant = summarise(data_of(np.ones(4, dtype=np.float32), [0, 0, 1, 1]))
    assert constant.label_distance == 0


def test_generated_populations_are_sampled_and_say_so():
    summary = summarise(Fleet(machines=100_000, rows=5, features=2, test_machines=3).load(0))
    assert (summary.num_clients, summary.clients_looked_at) == (100_000, 1000)
    assert summary.num_examples == 500_000
    assert summary.num_test == 15
    assert any("(from 1,000 clients)" in what for what, _ in summary.rows())


@pytest.mark.parametrize("target", ["failure", "rul"])
@pytest.mark.parametrize("rows", [5, (1, 50)])
def test_a_picture_is_written(tmp_path, target, rows):
    path = tmp_path / "data.png"
    plot(Fleet(machines=70, rows=rows, features=2, target=target).load(0), path)
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_a_picture_of_many_classes(tmp_path):
    plot(data_of(np.arange(100) % 20, np.arange(100) % 3), tmp_path / "data.png")
    assert (tmp_path / "data.png").stat().st_size > 5000
