"""Flower's ClientApp, in a module of its own, so that it travels to actors as an import and not as a pickle."""

from functools import cache

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from experiments.benchmarks import networks
from experiments.benchmarks.shards import Shards

app = ClientApp()


@cache
def loaded(folder: str) -> tuple[Shards, torch.nn.Module]:
    """Shards and module, once a process and not once a client."""
    torch.set_num_threads(1)
    shards = Shards(folder)
    return shards, networks.build(shards.workload)


@app.train()
def train(message: Message, context: Context) -> Message:
    """One client's round."""
    config = message.content["config"]
    shards, module = loaded(config["shards"])
    workload, client, place = shards.workload, config["client"], config["place"]
    module.load_state_dict(message.content["arrays"].to_torch_state_dict())
    order = torch.randperm(workload.rows) if place < 0 else torch.from_numpy(shards.orders[config["round"], place])
    optimizer = torch.optim.SGD(module.parameters(), lr=workload.lr)
    x, y = torch.from_numpy(shards.x[client]), torch.from_numpy(shards.y[client])
    networks.epoch(module, optimizer, x, y, order, workload.batch)
    content = RecordDict(
        {"arrays": ArrayRecord(module.state_dict()), "metrics": MetricRecord({"num-examples": workload.rows})}
    )
    return Message(content=content, reply_to=message)
