import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fedray.data.download import Remote, download
from fedray.data.images import Mnist
from fedray.errors import DataError

BODY = b"sensor readings " * 1000
DIGEST = hashlib.sha256(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/missing":
            self.send_error(404)
            return
        self.server.num_requests += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[:5000] if self.path == "/cut" else BODY)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.num_requests = 0
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url(server, path):
    return f"http://127.0.0.1:{server.server_port}{path}"


def test_a_good_file_is_kept_and_not_fetched_again(server, tmp_path):
    target = tmp_path / "cache" / "file"
    assert download(url(server, "/file"), target, DIGEST) == target
    assert target.read_bytes() == BODY
    download(url(server, "/file"), target, DIGEST)
    download(url(server, "/file"), tmp_path / "unchecked")
    assert server.num_requests == 2


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(DataError, match=f"has the SHA-256 {DIGEST}, but {'0' * 64} was expected"):
        download(url(server, "/file"), tmp_path / "file", "0" * 64)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_body_leaves_nothing(server, tmp_path):
    with pytest.raises(DataError, match=r"broke off after 5000 of 16000 bytes|cannot be downloaded"):
        download(url(server, "/cut"), tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_a_refused_connection_is_one_sentence(server, tmp_path):
    closed = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    closed.server_close()
    with pytest.raises(DataError, match=r"cannot be downloaded \(.*refused.*\); set data\.path to a local copy"):
        download(url(closed, "/file"), tmp_path / "file")
    with pytest.raises(DataError, match="Not Found"):
        download(url(server, "/missing"), tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_only_http_addresses_are_fetched(tmp_path):
    with pytest.raises(DataError, match="neither http nor https"):
        download("file:///etc/hostname", tmp_path / "file")


def test_a_damaged_cache_is_noticed(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(DataError, match=r"but .* was expected; delete .*file"):
        download("http://127.0.0.1:9/file", tmp_path / "file", DIGEST)


def test_a_source_downloads_only_when_allowed(server, elsewhere, monkeypatch):
    remotes = (Remote(url=url(server, "/file"), file="train-images-idx3-ubyte"),)
    monkeypatch.setattr(Mnist, "remotes", remotes)
    with pytest.raises(DataError, match="no data file"):
        Mnist(cache=str(elsewhere / "cache")).locate()
    assert server.num_requests == 0
    place = Mnist(cache=str(elsewhere / "cache"), download=True).locate()
    assert [f.name for f in place.iterdir()] == ["train-images-idx3-ubyte"]
    with pytest.raises(DataError, match="was expected"):
        Mnist(cache=str(elsewhere / "c"), download=True, sha256={"train-images-idx3-ubyte": "0" * 64}).locate()
