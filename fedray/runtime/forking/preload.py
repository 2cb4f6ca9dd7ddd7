"""What every client actor needs, imported and used once, so that its forks share it."""

import contextlib
import gc
import traceback
from importlib import import_module

import numpy as np
import torch

from fedray.aggregation.ring import Ring
from fedray.client.engines import choose
from fedray.client.host import Host
from fedray.client.training import TrainingConfig
from fedray.client.workload import Workload
from fedray.data.base import FederatedData
from fedray.data.fleet import Fleet
from fedray.messages import Block
from fedray.models.base import Layout
from fedray.models.mlp import Mlp
from fedray.models.table import build
from fedray.models.tasks import make_task

_MODULES = (
    "ray",
    "ray._private.workers.default_worker",
    "ray._private.arrow_serialization",
    "ray._common.pydantic_compat",
    "ray._common.usage.usage_lib",
    "anyio.abc",
    "pydantic.v1",
    "starlette.concurrency",
    "starlette.datastructures",
    "pyarrow.json",
    "fedray.runtime.driver",
    "fedray.runtime.client_actor",
    "fedray.data.table",
    "fedray.models.table",
)
"""What a worker imports on its way to the first call, of Ray 2.60 and of fedray; without one, forks are larger."""
_SEED = 1


def preload() -> None:
    """Imports what an actor imports, trains a client, and hides all of it from the collector.

    Nothing here may start a thread, since only the thread that forks lives on in a fork.
    """
    gc.disable()  # what it frees would be holes in pages, and whatever fills them in a fork takes the page's copy
    for name in _MODULES:
        with contextlib.suppress(ImportError):
            import_module(name)
    torch.set_num_threads(1)
    try:
        _train_once()
    except Exception:  # whatever it is, the actors will meet it too, and say it to those who wait for them
        traceback.print_exc()
    gc.freeze()
    gc.enable()


def _train_once() -> None:
    data = Fleet(machines=2, rows=10).load(_SEED)
    layout = Layout(build(Mlp(), data.spec, _SEED))
    host = Host(_workload(data), data)
    host.train(
        np.zeros(layout.num_parameters, np.float32),
        [Block(round=1, index=0, start=0, clients=np.array([0]), work=1.0)],
    )


def _workload(data: FederatedData) -> Workload:
    module, training = build(Mlp(), data.spec, _SEED), TrainingConfig()
    return Workload(
        model=Mlp(),
        spec=data.spec,
        task=make_task(None, data.spec),
        training=training,
        ring=Ring(fraction_bits=30, cohort=1),
        engine=choose(module, training, data.sizes, data.spec),
        seed=_SEED,
        holdout=0.0,
        evaluation_batch=10,
        num_threads=1,
    )
