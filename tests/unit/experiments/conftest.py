"""The benchmarks are no installed package: they are imported from the repository's root."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = str(Path(__file__).parents[3])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from experiments.benchmarks.prepare import prepare  # noqa: E402
from experiments.benchmarks.shards import Shards  # noqa: E402
from experiments.benchmarks.workloads import WORKLOADS  # noqa: E402

TINY = replace(WORKLOADS["W1"], name="tiny", clients=12, rows=20, cohort=5, test_rows=50, check_rounds=2, rounds=2)
TINY = replace(TINY, more_rounds={"fedray": 3})


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> Shards:
    return Shards(prepare(TINY, tmp_path_factory.mktemp("cache")))
