from pathlib import Path

import pytest

from fedray.config import parse
from fedray.errors import ConfigError
from fedray.tracking.settings import TrackingConfig, artifact_location, store_uri, without_password


def test_default_store_stands_beside_the_run_folders(tmp_path: Path):
    uri = store_uri(TrackingConfig(), tmp_path)
    assert uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert artifact_location(uri, tmp_path) == f"file://{tmp_path}/mlartifacts"


def test_a_server_decides_where_artifacts_go(tmp_path: Path):
    assert artifact_location("http://mlflow:5000", tmp_path) is None


@pytest.mark.parametrize("uri", ["./mlruns", "file:///mlruns", "ftp://host", "", "databricks"])
def test_unusable_uri_is_refused_with_what_to_use(uri: str):
    with pytest.raises(ConfigError, match="use http://host:5000 or sqlite:///file"):
        parse(TrackingConfig, {"uri": uri})


def test_password_is_never_shown():
    assert without_password("postgresql+psycopg2://u:secret@db:1/x") == "postgresql+psycopg2://db:1/x"
    assert without_password("sqlite:////a/b.db") == "sqlite:////a/b.db"
