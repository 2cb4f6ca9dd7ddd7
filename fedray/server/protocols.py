"""The protocols that can be chosen by name: how rounds follow in virtual time."""

from typing import Annotated

from fedray.config import Choices
from fedray.server.buffered import Buffered
from fedray.server.synchronous import Synchronous

Protocol = Synchronous | Buffered
PROTOCOLS = Choices("protocol", {"synchronous": Synchronous, "fedbuff": Buffered})
AnyProtocol = Annotated[Protocol, PROTOCOLS]
