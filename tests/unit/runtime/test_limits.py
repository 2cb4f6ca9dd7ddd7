import resource
from pathlib import Path

import pytest

from fedray.runtime import limits
from fedray.runtime.limits import limits_here, raise_open_files


def test_limits_of_this_machine_are_read():
    found = {limit.what: limit for limit in limits_here()}
    machine = found["threads of the machine (kernel.threads-max)"]
    assert machine.value == int(Path("/proc/sys/kernel/threads-max").read_text())
    assert 0 < machine.used < machine.value
    assert all(limit.num_actors >= 0 for limit in found.values())


def test_limits_of_a_container_are_found_at_every_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "pids.max").write_text("max\n")
    (inner / "pids.current").write_text("7\n")
    (inner.parent / "pids.max").write_text("1000\n")
    (inner.parent / "pids.current").write_text("40\n")
    monkeypatch.setattr(limits, "_cgroups", lambda: iter([inner, inner.parent]))
    found = [limit for limit in limits_here() if "container" in limit.what]
    assert [limit.value for limit in found] == [1000]
    assert found[0].used >= 40
    assert str(inner.parent) in found[0].what


def test_soft_limit_of_open_files_is_raised_to_the_hard_one():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard // 2, hard))
        raise_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
