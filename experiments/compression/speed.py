"""Processor time of codecs: `apply` on a block of small models and on one larger model."""

import argparse
import time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from fedray import seeds
from fedray.compression.codec import Codec
from fedray.compression.int8 import Int8
from fedray.compression.qsgd import Qsgd
from fedray.compression.randomk import RandomK
from fedray.compression.sixteen_bits import BFloat16, Float16
from fedray.compression.topk import TopK

CODECS: dict[str, Codec] = {
    "float16": Float16(),
    "bfloat16": BFloat16(),
    "int8": Int8(),
    "int8, 4 bits": Int8(bits=4),
    "qsgd, 127 levels": Qsgd(),
    "qsgd, 7 levels": Qsgd(levels=7),
    "topk, 1 %": TopK(),
    "topk, 10 %": TopK(fraction=0.1),
    "randomk, 1 %": RandomK(),
    "randomk, 10 %": RandomK(fraction=0.1),
}
SHAPES = ((100, 4_000), (1, 1_600_000))


def milliseconds(codec: Codec, num_clients: int, num_parameters: int, repeats: int) -> float:
    """The median of some calls, after one that is not counted."""
    delta = torch.randn(num_clients, num_parameters, generator=torch.Generator().manual_seed(0)) * 0.01
    keys = seeds.keys(0, "compression", 1, np.arange(num_clients))
    took = []
    for _ in range(repeats + 1):
        began = time.process_time()
        codec.apply(delta, keys)
        took.append(time.process_time() - began)
    return float(np.median(took[1:])) * 1e3


def main() -> None:
    """A row for each codec."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table = Table(title=f"apply, {options.threads} thread(s)")
    for column in ("codec", *(f"{c:,} x {p:,}: ms" for c, p in SHAPES), *(f"bytes of {p:,}" for _, p in SHAPES)):
        table.add_column(column, justify="right")
    for name, codec in CODECS.items():
        times = (f"{milliseconds(codec, c, p, options.repeats):.2f}" for c, p in SHAPES)
        table.add_row(name, *times, *(f"{codec.num_bytes(p):,}" for _, p in SHAPES))
    Console().print(table)


if __name__ == "__main__":
    main()
