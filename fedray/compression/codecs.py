"""The table of codecs: one method, one file, one line."""

from typing import Annotated

from fedray.compression.codec import Codec
from fedray.compression.int8 import Int8
from fedray.compression.qsgd import Qsgd
from fedray.compression.randomk import RandomK
from fedray.compression.sixteen_bits import BFloat16, Float16
from fedray.compression.topk import TopK
from fedray.config import Choices

CODECS = Choices(
    "codec",
    {"float16": Float16, "bfloat16": BFloat16, "int8": Int8, "qsgd": Qsgd, "topk": TopK, "randomk": RandomK},
)
AnyCodec = Annotated[Codec, CODECS]
