"""The protocols that can be chosen by name: how rounds follow in virtual time."""

from typing import Annotated

from fedray.config import Choices
from fedray.server.buffered import Buffered
from fedray.server.fedasync import FedAsync
from fedray.server.synchronous import Synchronous

Protocol = Synchronous | Buffered | FedAsync
PROTOCOLS = Choices("protocol", {"synchronous": Synchronous, "fedbuff": Buffered, "fedasync": FedAsync})
AnyProtocol = Annotated[Protocol, PROTOCOLS]
