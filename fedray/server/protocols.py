"""The protocols that can be chosen by name: how rounds follow in virtual time."""

from typing import Annotated

from fedray.config import Choices
from fedray.server.buffered import Buffered
from fedray.server.fedasync import FedAsync
from fedray.server.synchronous import Synchronous
from fedray.server.tiers import FedAT

Protocol = Synchronous | Buffered | FedAsync | FedAT
PROTOCOLS = Choices("protocol", {"synchronous": Synchronous, "fedbuff": Buffered, "fedasync": FedAsync, "fedat": FedAT})
AnyProtocol = Annotated[Protocol, PROTOCOLS]
