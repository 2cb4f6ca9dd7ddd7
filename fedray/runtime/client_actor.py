"""What a client actor is: a host of clients, with a way in for small calls."""

from fedray.client.host import Host
from fedray.runtime.answers import pack, unpack


class ClientActor(Host):
    """A host whose methods can be called with all arguments in one piece of bytes; `pool.py` makes actors of it."""

    def call(self, method: str, packed: bytes) -> bytes:
        """Calls a method of `Host` with packed arguments, and packs its answer."""
        return pack(getattr(self, method)(*unpack(packed)))
