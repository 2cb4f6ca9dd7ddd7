import socket
import threading
import time

import pytest

from fedray.runtime.forking import rest
from fedray.runtime.forking.rest import Rest


@pytest.fixture
def resting(monkeypatch: pytest.MonkeyPatch) -> Rest:
    """Sleeps for up to 20 seconds, from now on."""
    monkeypatch.setattr(rest, "_REST_S", 20.0)
    found = Rest(lambda: False)
    found._awake_until = 0.0
    return found


def main_loop(question: Rest) -> float:
    """Asks as Ray's main loop does; gives the seconds that the answer took."""
    began = time.monotonic()
    assert question() is False
    return time.monotonic() - began


def asleep(question: Rest) -> None:
    """Comes back where the main loop would sleep: every socket has been seen, and is quiet."""
    question._watch_sockets()
    while question._sockets.poll(0):
        pass


def test_main_loop_sleeps_until_something_arrives(resting: Rest):
    here, there = socket.socketpair()
    with here, there:
        asleep(resting)
        threading.Timer(0.3, there.send, [b"call"]).start()
        assert 0.2 < main_loop(resting) < 10
        assert main_loop(resting) < 0.2  # it stays awake for a while


def test_arrival_that_another_thread_took_is_not_missed(resting: Rest):
    """As the threads of Ray do, which read a call before the main loop runs it."""
    here, there = socket.socketpair()
    with here, there:
        asleep(resting)
        reader = threading.Thread(target=here.recv, args=[4])
        reader.start()
        threading.Timer(0.3, there.send, [b"call"]).start()
        assert main_loop(resting) < 10
        reader.join()


def test_what_arrived_while_awake_is_not_missed(resting: Rest):
    here, there = socket.socketpair()
    with here, there:
        asleep(resting)
        there.send(b"call")
        here.recv(4)
        assert main_loop(resting) < 10


def test_new_socket_keeps_the_loop_awake(resting: Rest):
    asleep(resting)
    with socket.socket() as new:
        new.bind(("127.0.0.1", 0))
        new.listen()
        here = socket.create_connection(new.getsockname())
        with here:
            assert main_loop(resting) < 10


def test_everyone_else_is_answered_at_once(resting: Rest):
    asleep(resting)
    began = time.monotonic()
    assert resting() is False
    assert time.monotonic() - began < 1
    assert Rest(lambda: True)() is True
