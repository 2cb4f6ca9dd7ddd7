"""Running the real command, and what every refusal has in common."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TINY: dict[str, Any] = {
    "name": "tiny",
    "rounds": 2,
    "data": {"name": "fleet", "machines": 20},
    "cohort": {"size": 5},
    "model": {"name": "mlp", "hidden": [8]},
    "checkpoint": {"every_s": 0},
    "actors": {"backend": "serial"},
    "tracking": {"enabled": False},
}
LIMIT_S = 120
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    """Of a command: no other Ray than its own, and nothing kept from this process."""
    return {**{k: v for k, v in os.environ.items() if not k.startswith("RAY_")}, "NO_COLOR": "1", **more}


def fedray(*arguments: object, folder: Path, **options: Any) -> Ended:
    """Runs `python -m fedray ARGUMENTS` in a folder, to its end."""
    command = [sys.executable, "-m", "fedray", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=LIMIT_S, **options
    )
    return Ended(code=done.returncode, out=COLOURS.sub("", done.stdout), err=COLOURS.sub("", done.stderr))


def write(path: Path, settings: Mapping[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(dict(settings)))
    return path


def assert_refused(ended: Ended, *words: str) -> None:
    """One sentence that says what, no traceback, exit status 2."""
    assert ended.code == 2, ended
    assert "Traceback" not in ended.out + ended.err, ended
    assert ended.err.startswith("fedray: "), ended
    assert ended.err.count("\n") == 1, ended
    for word in words:
        assert word in ended.err, ended
