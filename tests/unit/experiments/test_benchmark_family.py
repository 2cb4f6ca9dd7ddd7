"""Processes of a run are found by their mark, weighed, and ended."""

import os
import subprocess
import sys
import time
from uuid import uuid4

from experiments.benchmarks import family

SLEEPER = [sys.executable, "-c", "import time; held = bytearray(30_000_000); time.sleep(60)"]


def start(mark: str) -> subprocess.Popen:
    return subprocess.Popen(SLEEPER, env={**os.environ, family.MARK: mark}, start_new_session=True)


def test_a_detached_process_is_found_weighed_and_ended():
    mark = uuid4().hex
    process = start(mark)
    try:
        until = time.monotonic() + 30
        with family.Scales(mark, every_s=0.02) as scales:
            while scales.peak_bytes < 30_000_000 and time.monotonic() < until:
                time.sleep(0.02)
        assert scales.peak_bytes > 30_000_000
        assert [size for _, size in scales.processes] == [scales.peak_bytes]
        assert family.members(mark, {}) == [process.pid]
        assert family.end(mark, patience_s=0) == 1
        process.wait(timeout=10)
        assert family.members(mark, {}) == []
    finally:
        process.kill()
        process.wait()


def test_others_are_left_alone():
    process = start(uuid4().hex)
    try:
        assert family.end(uuid4().hex, patience_s=0) == 0
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
