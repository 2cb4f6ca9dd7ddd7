import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("FEDRAY_DATA", Path(__file__).parents[4] / "shared" / "data"))


@pytest.fixture
def real(monkeypatch):
    """Makes sources find the real files, and gives the folder they are in."""
    if not (SHARED / "cmapss.npz").is_file():
        pytest.skip(f"no real data in {SHARED}; set FEDRAY_DATA to its folder")
    monkeypatch.setenv("FEDRAY_DATA", str(SHARED))
    return SHARED


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder in which no data can be found by default."""
    monkeypatch.delenv("FEDRAY_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path
