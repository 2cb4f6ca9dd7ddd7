"""Takes the place of Ray's own `setup_worker.py` in a Ray that fedray starts: no import of Ray for forked workers.

Runs by its path with nothing but the standard library. Ray's own script spends most of the time that a forked worker
takes to start on importing Ray, only to read two arguments.
"""

import argparse
import importlib.util
import json
import os
import shlex
import sys
from pathlib import Path

LAUNCHER = str(Path(__file__).with_name("launcher.py"))


def main() -> None:
    """Becomes the launcher for a worker that is to be forked, and Ray's own script for any other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--serialized-runtime-env-context", default="{}")
    parser.add_argument("--language")
    options, worker = parser.parse_known_args()
    context = json.loads(options.serialized_runtime_env_context)
    command = shlex.split(context.get("py_executable") or "")
    if LAUNCHER not in command or context.get("command_prefix") or context.get("override_worker_entrypoint"):
        _become_rays_own()
    os.environ.update(context.get("env_vars") or {})
    os.execv(command[0], [*command, *worker])  # noqa: S606


def _become_rays_own() -> None:
    ray = importlib.util.find_spec("ray")
    assert ray is not None
    assert ray.submodule_search_locations is not None
    script = Path(ray.submodule_search_locations[0], "_private", "workers", "setup_worker.py")
    os.execv(sys.executable, [sys.executable, str(script), *sys.argv[1:]])  # noqa: S606


if __name__ == "__main__":
    main()
