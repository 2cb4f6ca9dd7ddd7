"""Every way to say what goes wrong, when and to whom; and every wrong way, in one sentence."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from plans import Holder, blocks, csv, faults_of, plan

from fedray.config import parse
from fedray.errors import ConfigError
from fedray.simulation.faults.kinds import CLIENT, LOSSES, PROCESS, ROUND
from fedray.simulation.faults.settings import KINDS

NEEDS: dict[str, dict[str, Any]] = {
    "slow": {"factor": 4, "seconds": 2.5},
    "exhaust_memory": {"bytes": 1000},
    "delay_result": {"seconds": 1.5},
    "corrupt": {"how": "nan"},
    "tracking_away": {"seconds": 7},
}


def of_kind(kind: str) -> dict[str, Any]:
    who = {} if kind in ROUND else {"clients": [104]}
    return {"kind": kind, "rounds": [1], **who, **NEEDS.get(kind, {})}


def test_every_kind_is_one_of_three():
    assert set(KINDS) == PROCESS | CLIENT | ROUND
    assert not PROCESS & CLIENT
    assert not (PROCESS | CLIENT) & ROUND
    assert LOSSES < PROCESS


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_a_fault_with_its_values(kind: str):
    due = plan(of_kind(kind)).due(1, blocks())
    (fault,) = due.others if kind in ROUND else faults_of(due)
    assert (fault.id, fault.round, fault.kind, fault.repeat) == (0, 1, kind, False)
    assert (fault.client, fault.block) == ((-1, -1) if kind in ROUND else (104, 1))
    assert fault.seconds == NEEDS.get(kind, {}).get("seconds", 0)
    assert fault.amount == NEEDS.get(kind, {}).get("factor", NEEDS.get(kind, {}).get("bytes", 0))
    assert fault.how == NEEDS.get(kind, {}).get("how", "")


@pytest.mark.parametrize("at", ["before", "during", "after"])
@pytest.mark.parametrize("kind", ["kill", "kill_driver", "kill_node"])
def test_moment_of_a_kill_is_chosen(kind: str, at: str):
    due = plan({**of_kind(kind), "at": at}).due(1, blocks())
    assert [fault.at for fault in (*due.others, *faults_of(due))] == [at]


def test_which_bit_flips():
    flip = {"kind": "corrupt", "how": "bit_flip", "rounds": [1], "clients": [100]}
    assert faults_of(plan(flip).due(1, blocks()))[0].amount == 30
    assert faults_of(plan({**flip, "bit": 23}).due(1, blocks()))[0].amount == 23


KILL = {"kind": "kill", "rounds": [3], "actors": 1}
WRONG = [
    ({"kind": "kil"}, r"^faults\.0: no fault is called 'kil' \(did you mean 'kill'\?\)$"),
    ({"rounds": [3]}, r"^faults\.0: has no kind; choose the fault by kind: kill, hang, .*, file$"),
    ({"kind": "kill", "actors": 1}, "^faults.0: nothing says when it is due; set exactly one of rounds, every, rate,"),
    ({**KILL, "every": 2}, "^faults.0: rounds and every are all set; set exactly one of rounds, every, rate,"),
    ({**KILL, "first": 2}, "^faults.0: first and last go with every; set every, or remove them$"),
    (
        {"kind": "kill", "rounds": [3]},
        "^faults.0: nothing says whom it hits; set exactly one of clients, actors, blocks,",
    ),
    ({**KILL, "blocks": 1}, "^faults.0: actors and blocks are all set; set exactly one of clients, actors, blocks,"),
    ({**KILL, "repeat": True}, "^faults.0: repeat goes with clients; set clients, or remove repeat$"),
    ({**KILL, "actors": 0}, "^faults.0.actors: 0 is neither a whole number from 1 nor a part above 0 and up to 1.0$"),
    ({**KILL, "actors": 1.5}, "^faults.0.actors: 1.5 is neither a whole number"),
    ({**KILL, "at": "noon"}, "^faults.0.at is 'noon', but must be 'before', 'during' or 'after'; change faults.0.at$"),
    (
        {**KILL, "rounds": [0]},
        "^faults.0.rounds.0 is 0, but must be greater than or equal to 1; change faults.0.rounds.0$",
    ),
    ({**KILL, "clients": [-1]}, "^faults.0.clients.0 is -1, but must be greater than or equal to 0"),
    ({**KILL, "actrs": 1}, r"^faults\.0: unknown key 'actrs' \(did you mean 'actors'\?\)$"),
    ({"kind": "hang", "rate": 2, "actors": 1}, "^faults.0.rate is 2, but must be less than or equal to 1"),
    ({"kind": "hang", "every": 0, "actors": 1}, "^faults.0.every is 0, but must be greater than or equal to 1"),
    ({"kind": "hang", "mean_rounds": 0, "actors": 1}, "^faults.0.mean_rounds is 0, but must be greater than or equal"),
    ({**KILL, "kind": "slow"}, r"^faults\.0\.factor is missing; set faults\.0\.factor \(and 1 more\)$"),
    ({**KILL, "kind": "exhaust_memory"}, "^faults.0.bytes is missing; set faults.0.bytes$"),
    (
        {"kind": "exception", "rounds": [3]},
        "^faults.0: nothing says whom it hits; set exactly one of clients, fraction$",
    ),
    ({"kind": "exception", "rounds": [3], "fraction": 0}, "^faults.0.fraction is 0, but must be greater than 0"),
    (
        {"kind": "corrupt", "rounds": [3], "fraction": 1, "how": "odd"},
        "^faults.0.how is 'odd', but must be 'nan', 'inf'",
    ),
    ({"kind": "storage_full"}, "^faults.0: nothing says when it is due"),
    ({"kind": "file", "file": "none.csv"}, r"^the faults of none\.csv cannot be read \(.*\); change faults\.file$"),
    (
        {"kind": "file", "file": "none.parquet"},
        r"^the faults of none\.parquet cannot be read \(.*\); change faults\.file$",
    ),
]


@pytest.mark.parametrize(("fault", "sentence"), WRONG)
def test_wrong_settings_are_one_sentence(fault: dict[str, Any], sentence: str):
    with pytest.raises(ConfigError, match=sentence) as caught:
        plan(fault)
    assert "\n" not in str(caught.value)


def test_the_wrong_one_of_several_is_named():
    with pytest.raises(ConfigError, match=r"^faults\.1\.every is -1"):
        parse(Holder, {"faults": [KILL, {"kind": "hang", "every": -1, "actors": 1}]})


GOOD_TABLE = """round,kind,client,block,at,seconds,how,repeat
3, kill, 104,, after,,,
3, kill, , 2, , , ,
2, exception, 101, , , , ,
4, corrupt, 100, , , , inf,
4, tracking_away, , , , 2.5, ,
1, hang, 103, , , , , true
"""


def test_table_of_faults(tmp_path: Path):
    faults = plan(csv(tmp_path, GOOD_TABLE))
    found = [faults.row(id) for id in range(len(faults))]
    assert [(row.round, row.kind, row.client, row.block) for row in found] == [
        (1, "hang", 103, -1),
        (2, "exception", 101, -1),
        (3, "kill", 104, -1),
        (3, "kill", -1, 2),
        (4, "corrupt", 100, -1),
        (4, "tracking_away", -1, -1),
    ]
    assert [row.repeat for row in found] == [True] + [False] * 5
    assert [row.at for row in found[2:4]] == ["after", "during"]
    assert (found[4].how, found[5].seconds) == ("inf", 2.5)


def test_table_in_parquet_equals_the_same_in_csv(tmp_path: Path):
    rows = {
        "round": [3, 3, 2, 4, 4, 1],
        "kind": ["kill", "kill", "exception", "corrupt", "tracking_away", "hang"],
        "client": [104, None, 101, 100, None, 103],
        "block": [None, 2, None, None, None, None],
        "at": ["after", None, None, None, None, None],
        "seconds": [None, None, None, None, 2.5, None],
        "how": [None, None, None, "inf", None, None],
        "repeat": [None, None, None, None, None, True],
    }
    pq.write_table(pa.table(rows), tmp_path / "faults.parquet")
    ours = plan({"kind": "file", "file": str(tmp_path / "faults.parquet")})
    theirs = plan(csv(tmp_path, GOOD_TABLE))
    for name, column in ours.columns.items():
        assert column.tolist() == theirs.columns[name].tolist()


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("3,kil,5,", "row 2: kind is 'kil'; choose one of kill, hang, .*, restart_control$"),
        (",kill,5,", "row 2: round is missing; give it columns round, kind and client"),
        ("3,,5,", "row 2: kind is missing; give it columns round, kind and client"),
        ("0,kill,5,", "row 2: round is '0', but must be greater than or equal to 1; change round$"),
        ("3,kill,-5,", "row 2: client is '-5', but must be greater than or equal to 0; change client$"),
        ("3,kill,x,", "row 2: client is 'x', but must be a valid integer"),
        ("3,kill,,", "row 2: nothing says whom it hits; set exactly one of clients, actors, blocks, block$"),
        ("3,kill,5,odd", "row 2: at is 'odd', but must be 'before', 'during' or 'after'; change at$"),
        ("3,exception,5,before", "row 2: unknown key 'at'"),
        ("3,file,5,", "row 2: kind is 'file'; choose one of"),
        ("3,kill,5,after,6,7", "has a row with more values than columns"),
    ],
)
def test_wrong_row_is_named(tmp_path: Path, rows: str, sentence: str):
    with pytest.raises(ConfigError, match=sentence) as caught:
        plan(csv(tmp_path, f"round,kind,client,at\n1,kill,3,before\n{rows}\n"))
    assert str(tmp_path / "faults.csv") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_table_whose_columns_are_called_as_settings_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="row 1: a table has no column 'clients'; give it columns round, kind and"):
        plan(csv(tmp_path, "round,kind,clients\n1,kill,3\n"))
