"""A layer imports only what stands above it; Ray and MLflow stay in their folders, and nothing else needs them."""

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "fedray"
LAYERS = (
    {"config", "files", "errors", "seeds", "messages"},
    {"models", "data"},
    {"population"},
    {"aggregation", "compression", "privacy"},
    {"client"},
    {"server"},
    {"simulation"},
    {"runtime", "tracking", "report"},
    {"experiment"},
    {"api"},
    {"scaling"},
    {"cli", "display", "doctor", "__main__"},
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


@cache
def imports(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it: at the top, in functions, for type checkers, by name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            found |= {a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    return found


def layer(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_layer_imports_only_what_stands_above(path: Path):
    mine = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if mine == "__init__":
        return
    assert mine in RANK, f"{mine} is no layer: give it a place in DESIGN.md and in this test"
    for module in imports(path):
        if not module.startswith("fedray.") or layer(module) not in RANK or layer(module) == mine:
            continue
        lower_or_beside = RANK[layer(module)] < RANK[mine] or (RANK[mine] == 0 and RANK[layer(module)] == 0)
        top = RANK[mine] == len(LAYERS) - 1 and RANK[layer(module)] == len(LAYERS) - 1
        assert lower_or_beside or top, f"{path.relative_to(PACKAGE)} imports {module}, which stands below it"


@pytest.mark.parametrize(("library", "home"), [("ray", "runtime"), ("mlflow", "tracking")])
def test_ray_and_mlflow_are_imported_in_one_folder(library: str, home: str):
    importers = {
        path.relative_to(PACKAGE).parts[0]
        for path in FILES
        if any(module.split(".")[0] == library for module in imports(path))
    }
    assert importers <= {home}


def test_placement_is_decided_without_ray():
    assert not {m for m in imports(PACKAGE / "runtime" / "placement.py") if m.split(".")[0] == "ray"}


def test_codecs_know_nothing_of_models_and_data():
    needed = {m for path in (PACKAGE / "compression").glob("*.py") for m in imports(path) if m.startswith("fedray.")}
    allowed = ("compression", "config", "errors", "messages", "seeds", "models.tensors")
    assert not {m for m in needed if not m.removeprefix("fedray.").startswith(allowed)}


_WITHOUT = """
import json, sys, warnings

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ray", "mlflow"):
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Refuse())
warnings.simplefilter("error")
import fedray
from fedray.config import parse

experiment = parse(fedray.Experiment, json.loads(sys.argv[1]))
result = fedray.run(experiment)
print(json.dumps([result.state, result.digest, float(result.history["test/accuracy"].iloc[-1])]))
"""


def test_serial_run_works_where_ray_and_mlflow_are_not_installed(tmp_path: Path):
    settings = {
        "rounds": 1,
        "data": {"name": "fleet", "machines": 4, "rows": 20, "features": 4, "test_machines": 2},
        "model": {"name": "mlp", "hidden": [4]},
        "cohort": {"size": 2},
        "actors": {"backend": "serial"},
        "tracking": {"enabled": False},
        "runs": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, json.dumps(settings)],
        capture_output=True,
        text=True,
        check=False,
        cwd=PACKAGE.parent,
    )
    assert done.returncode == 0, done.stderr
    state, digest, accuracy = json.loads(done.stdout.splitlines()[-1])
    assert state == "finished"
    assert len(digest) == 64
    assert 0 <= accuracy <= 1


def test_import_of_fedray_is_quick_and_loads_no_torch():
    code = "import sys, fedray; print(sorted({'torch', 'ray', 'mlflow', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "[]"


def test_public_names_are_what_is_announced():
    import fedray

    assert all(getattr(fedray, name) is not None for name in fedray.__all__)
    assert set(fedray.__all__) <= set(dir(fedray))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = fedray.no_such_name
