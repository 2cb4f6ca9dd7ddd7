"""A Flower client like any other; one of them waits in round 1 to be killed. Runs in Flower's environment."""

import os
import threading
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

VICTIM = 7
"""The client whose process is killed."""
_LIMIT_S = 60.0
app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """One gradient step of logistic regression on 50 rows of its own."""
    client, config = int(context.node_config["partition-id"]), message.content["config"]
    if client == VICTIM and config["server-round"] == 1:
        _await_the_kill(Path(config["pid_file"]))
    (w,) = message.content["arrays"].to_numpy_ndarrays()
    rng = np.random.default_rng(client)
    x, y = rng.normal(size=(50, len(w))), rng.integers(2, size=50)
    w = w - 0.1 * x.T @ (1 / (1 + np.exp(-x @ w)) - y) / 50
    content = RecordDict({"arrays": ArrayRecord([w]), "metrics": MetricRecord({"num-examples": 50})})
    return Message(content=content, reply_to=message)


def _await_the_kill(file: Path) -> None:
    beside = file.with_suffix(".new")
    beside.write_text(str(os.getpid()), encoding="utf-8")
    beside.rename(file)
    threading.Event().wait(_LIMIT_S)
    raise RuntimeError("nobody came to kill this client")
