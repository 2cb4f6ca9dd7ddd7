"""What went wrong in a run, read from folders written by hand, so that every number can be checked."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from rich.console import Console

from fedray.errors import RunFolderError
from fedray.report.explain import Explanation, explain
from fedray.report.explain_clients import NO_EVENT, Loss
from fedray.report.explain_events import Planned
from fedray.report.explain_figure import draw, plot
from fedray.report.explain_kinds import Delay
from fedray.report.explain_table import happenings, show
from fedray.report.explain_words import WORDS, percent, sentences
from fedray.simulation.faults.plan import FaultPlan
from fedray.simulation.faults.settings import KINDS

START = 1000.0
EXAMPLES = {1: 10, 2: 10, 3: 20, 4: 40}


def due(round: int, kind: str, **more: Any) -> dict[str, Any]:
    """A row of the plan that hits nothing unless `more` says so."""
    plain = {"at": "during", "how": "", "seconds": 0.0, "amount": 0.0, "repeat": False, "client": -1, "block": -1}
    return {"round": round, "kind": kind, **plain, "num": 0, "share": 0.0, "chance": 1.0, "draw": 7, **more}


def event(fault: int, round: int, kind: str, **more: Any) -> dict[str, Any]:
    """A line of faults.jsonl; times count from the start."""
    plain = {"block": -1, "client": -1, "actor": -1, "node": "", "pid": 0, "cause": "planned"}
    times = {f"{what}_at": more.pop(what, None) for what in ("injected", "detected", "recovered")}
    shifted = {name: None if time is None else START + time for name, time in times.items()}
    values = {"fault": fault, "round": round, "kind": kind, **plain, **shifted}
    return {**values, "num_recomputed": 0, "recomputed_s": 0.0, **more}


def record(round: int, time: float, seconds: float, **fates: int) -> dict[str, Any]:
    values = {"round": round, "time": START + time, "cohort": sum(fates.values()), "fates": fates, "deaths": 0}
    return {**values, "seconds": {"train": 0.5 * seconds, "round": seconds}}


def row(round: int, client: int, fate: str = "ok", **more: Any) -> dict[str, Any]:
    """A line of the ledger; blocks hold clients 1 and 2, and 3 and 4."""
    lost = fate not in ("ok", "retried")
    values = {"round": round, "client": client, "fate": fate, "attempts": 2 if fate == "retried" else 1}
    values |= {"block": (client - 1) // 2, "cause": "", "examples": 0 if lost else EXAMPLES[client], "seconds": 0.1}
    return {**values, **more}


def rows(round: int, **fates: str) -> list[dict[str, Any]]:
    """The ledger of a round with clients 1 to 4, of which some have another fate: c3="rejected"."""
    return [row(round, client, fates.get(f"c{client}", "ok")) for client in EXAMPLES]


def run_folder(
    path: Path,
    records: list[dict[str, Any]],
    events: list[dict[str, Any]],
    ledger: list[dict[str, Any]] | None,
    plan: list[dict[str, Any]] | None = None,
    on_death: str = "replace",
    **status: Any,
) -> Path:
    path.mkdir()
    (path / "config.yaml").write_text(yaml.safe_dump({"name": "press-line", "failures": {"on_death": on_death}}))
    (path / "status.json").write_text(json.dumps({"state": "finished", "started": START, "error": None, **status}))
    for journal, lines in (("rounds", records), ("faults", events)):
        (path / f"{journal}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if ledger is not None:
        pq.write_table(pa.Table.from_pylist(ledger), path / "clients.parquet")
    if plan is not None:
        FaultPlan.of(9, plan).save(path)
    return path


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Rounds 2 and 4 are disturbed: a kill and a death that follows from it; one update refused, one not."""
    plan = [
        due(2, "kill", block=1),
        due(4, "corrupt", client=3, how="nan"),
        due(4, "corrupt", client=1, how="bit_flip", amount=3.0),
        due(4, "slow", block=7, seconds=1.0, amount=2.0),
        due(9, "kill", block=0),
    ]
    kill = {"pid": 77, "num_recomputed": 2, "recomputed_s": 0.5, "injected": 1.2, "detected": 1.6, "recovered": 2.6}
    death = {"pid": 77, "num_recomputed": 2, "recomputed_s": 0.3, "detected": 1.7, "recovered": 2.2, "cause": "died"}
    events = [
        event(0, 2, "kill", block=1, client=3, **kill),
        event(-1, 2, "death", block=0, **death),
        event(1, 4, "corrupt", block=1, client=3, injected=6.0, detected=6.0, cause="it holds NaN"),
        event(2, 4, "corrupt", block=0, client=1, injected=6.5, cause="it changed no fate"),
        event(3, 4, "slow", cause="no target: its block is not in the blocks of round 4"),
    ]
    records = [
        record(1, 1.0, 1.0, ok=4),
        record(2, 4.0, 3.0, ok=0, retried=4),
        record(3, 5.4, 1.4, ok=4),
        record(4, 7.6, 2.2, ok=3, rejected=1),
    ]
    again = dict.fromkeys(("c1", "c2", "c3", "c4"), "retried")
    ledger = [*rows(1), *rows(2, **again), *rows(3), *rows(4, c3="rejected")]
    return run_folder(tmp_path / "run", records, events, ledger, plan)


def kinds(found: Explanation) -> dict[str, Any]:
    return {kind.kind: kind for kind in found.kinds}


def test_what_was_planned_and_what_happened(mixed: Path):
    found = explain(mixed)
    assert found.planned == Planned(by_kind={"kill": 1, "corrupt": 2, "slow": 1}, later=1)
    assert (found.planned.total, len(found.events), found.caused, found.accepted) == (4, 5, 1, 1)
    assert found.reasons == {"its target was not in the round": 1}
    counts = {name: (k.planned, k.carried_out, k.unplanned, k.found, k.made_good) for name, k in kinds(found).items()}
    assert counts == {
        "kill": (1, 1, 0, 1, 1),
        "slow": (1, 0, 0, 0, 0),
        "corrupt": (2, 2, 0, 1, 0),
        "death": (0, 0, 1, 1, 1),
    }


def test_what_each_kind_cost(mixed: Path):
    of = kinds(explain(mixed))
    found, good = of["kill"].found_after, of["kill"].made_good_after
    assert (found.num, found.median_s, found.worst_s) == (1, pytest.approx(0.4), pytest.approx(0.4))
    assert (good.num, good.median_s, good.worst_s) == (1, pytest.approx(1.0), pytest.approx(1.0))
    assert of["death"].found_after == Delay(num=0)
    assert of["death"].made_good_after.worst_s == pytest.approx(0.5)
    assert [(of[name].trained_again, of[name].trained_again_s) for name in ("kill", "death", "corrupt")] == [
        (2, 0.5),
        (2, 0.3),
        (0, 0.0),
    ]
    assert of["corrupt"].lost == Loss(fates={"rejected": 1}, examples=20.0)
    assert of["corrupt"].lost_share == pytest.approx(20 / 320)
    assert (of["kill"].lost.clients, of["kill"].lost_share) == (0, 0.0)


def test_median_and_worst_of_several():
    found = Delay.of([(0.0, 1.0), (0.0, 5.0), (1.0, 4.0), (None, 9.0), (2.0, None)])
    assert found == Delay(num=3, median_s=3.0, worst_s=5.0)


def test_rounds_against_the_median_of_the_undisturbed(mixed: Path):
    found = explain(mixed)
    assert found.started == START
    assert found.median_s == pytest.approx(1.2)
    assert [story.more_s for story in found.rounds] == pytest.approx([-0.2, 1.8, 0.2, 1.0])
    assert [story.round for story in found.disturbed] == [2, 4]
    assert found.more_s == pytest.approx(2.8)
    assert [story.round for story in found.costliest(1)] == [2]
    assert [story.round for story in found.costliest(10)] == [2, 4]
    assert [happenings(story) for story in found.disturbed] == [
        "kill (block 1); death (block 0)",
        "2 corrupt (client 1, 3)",
    ]


def test_fates_of_the_run(mixed: Path):
    fates = explain(mixed).fates
    assert fates.fates == {"ok": 11, "retried": 4, "failed": 0, "rejected": 1, "dropped": 0, "quarantined": 0}
    assert (fates.cohorts, fates.ledger_rows, fates.ledger_rounds, fates.is_closed) == (16, 16, 4, True)
    assert (fates.num_lost, fates.usable_examples, fates.num_guessed) == (1, 300, 0)
    assert fates.lost_share == pytest.approx(0.0625)
    assert (fates.trained_again, fates.trained_again_s) == (4, pytest.approx(0.4))


def test_sentences(mixed: Path):
    assert sentences(explain(mixed)) == [
        "4 faults were planned: 1 x process killed, 1 x process slowed down, 2 x update damaged; 1 entry of the plan "
        "for later rounds.",
        "Faults of the plan were carried out 3 times; 1 could not be: its target was not in the round (1); what "
        "happened without a plan: 1 x process that died, 1 of them where a planned fault had struck.",
        "4 clients were trained again, for 0.400 s; 2 disturbed rounds took 2.80 s in all above 1.20 s, the median of "
        "rounds without events, which is an estimate: whatever else slowed them is in it.",
        "Each of the 16 clients of all cohorts has exactly one fate.",
        "The result was changed: 1 of 16 updates was left out (1 rejected), 6.25 % of the examples; 1 damaged update "
        "was not refused and went into it.",
    ]


def test_tables_and_plain_values(mixed: Path):
    found = explain(mixed)
    console = Console(width=80, record=True, file=StringIO())
    show(console, found, "press-line", 1)
    text = console.export_text()
    assert "press-line: what went wrong, by kind" in text
    assert "0.400/0.400" in text
    assert "median: seconds of the undisturbed rounds" in text
    assert "the 1 most costly of 2 disturbed rounds" in text
    assert "kill (block 1); death (block 0)" in text
    assert "2 corrupt" not in text
    assert text.split("sum of cohorts")[1].split()[-5:] == ["11", "4", "1", "16", "16"]
    plain = json.loads(json.dumps(found.to_dict()))
    assert (plain["changed"], plain["more_s"], plain["disturbed_rounds"]) == (True, pytest.approx(2.8), [2, 4])
    assert (plain["fates"]["closed"], plain["fates"]["lost"], plain["fates"]["lost_share"]) == (True, 1, 0.0625)
    assert plain["kinds"][0]["found_after"]["num"] == 1
    assert len(plain["events"]) == 5


def test_replaced_actors_change_nothing(tmp_path: Path):
    kill = event(0, 1, "kill", block=0, injected=0.1, detected=0.1, recovered=0.2, num_recomputed=2, recomputed_s=0.2)
    ledger = rows(1, c1="retried", c2="retried")
    records = [record(1, 1.0, 1.0, ok=2, retried=2)]
    found = explain(run_folder(tmp_path / "run", records, [kill], ledger, [due(1, "kill", block=0)]))
    assert (found.is_changed, found.median_s, found.more_s) == (False, None, None)
    lines = sentences(found)
    assert "how many seconds the run lost cannot be told, since every recorded round has events" in lines[2]
    console = Console(width=80, record=True, file=StringIO())
    show(console, found, "press-line", 1)
    assert "undisturbed" not in console.export_text()  # nothing to compare with: no column of dashes
    assert lines[4] == (
        "The result was not changed: every client's update is in it, with the bits of a run without faults."
    )


def test_dropped_weight_and_the_size_of_who_never_trained(tmp_path: Path):
    """Client 4 never trains: it is taken to have the mean of 10, 10 and 20 examples."""
    cause = "planned: kill during training"
    kill = event(0, 2, "kill", block=1, client=3, injected=1.0, detected=1.0, cause=cause)
    ledger = [row(1, client) for client in (1, 2, 3)]
    ledger += [row(2, 1), row(2, 2), row(2, 3, "dropped", cause=cause), row(2, 4, "dropped", cause=cause)]
    records = [record(1, 1.0, 1.0, ok=3), record(2, 2.0, 1.0, ok=2, dropped=2)]
    found = explain(run_folder(tmp_path / "run", records, [kill], ledger, [due(2, "kill", block=1)], "drop"))
    lost = 20 + 40 / 3
    assert kinds(found)["kill"].lost.fates == {"dropped": 2}
    assert kinds(found)["kill"].lost.examples == pytest.approx(lost)
    assert found.fates.lost_share == pytest.approx(lost / (60 + lost))
    assert found.fates.num_guessed == 1
    assert sentences(found)[4] == (
        "The result was changed: 2 of 7 updates were left out (2 dropped, as failures.on_death is drop), 35.71 % of "
        "the examples, if 1 client that never trained had as many as the mean of the others."
    )


def test_losses_are_told_apart_by_cause_and_quarantine_is_remembered(tmp_path: Path):
    """Two kinds hit block 1: the ledger's cause tells which; a client in quarantine has no block afterwards."""
    events = [
        event(0, 1, "hang", block=1, detected=0.2, cause="planned: hang"),
        event(-1, 1, "death", block=1, detected=0.3, cause="killed by nobody"),
        event(1, 1, "exception", block=0, client=1, injected=0.1, detected=0.1, cause="boom"),
    ]
    ledger = [
        row(1, 1, "failed", cause="boom"),
        row(1, 2, "failed", cause="a defect of the model"),
        row(1, 3, "quarantined", cause="2 actors died that trained it alone (planned: hang)"),
        row(1, 4, "dropped", cause="killed by nobody"),
        *rows(2)[:2],
        row(2, 3, "quarantined", block=-1, cause="2 actors died that trained it alone (planned: hang)"),
        row(2, 4),
    ]
    records = [record(1, 1.0, 1.0, failed=2, quarantined=1, dropped=1), record(2, 2.0, 1.0, ok=3, quarantined=1)]
    found = explain(run_folder(tmp_path / "run", records, events, ledger))
    assert {name: kind.lost.fates for name, kind in kinds(found).items()} == {
        "hang": {"quarantined": 2},
        "exception": {"failed": 1},
        "death": {"dropped": 1},
        NO_EVENT: {"failed": 1},
    }
    assert [story.round for story in found.disturbed] == [1]  # that a client is in quarantine is no event of round 2
    assert found.fates.num_guessed == 1  # client 3, lost twice


def test_one_row_of_the_plan_counts_each_target(tmp_path: Path):
    """Rows with a share and a chance hit what they are bound to, which only the blocks of the ledger tell."""
    plan = [due(1, "kill", num=2), due(1, "corrupt", share=0.5), due(1, "hang", share=1.0, chance=1e-12)]
    found = explain(run_folder(tmp_path / "run", [record(1, 1.0, 1.0, ok=4)], [], rows(1), plan))
    assert found.planned.by_kind == {"kill": 2, "corrupt": 2}
    (tmp_path / "run" / "clients.parquet").unlink()
    assert explain(tmp_path / "run").planned.by_kind == {"kill": 1, "corrupt": 1, "hang": 1}


def test_driver_and_node_with_what_came_of_them(tmp_path: Path):
    events = [
        event(0, 2, "kill_driver", node="a", injected=2.0),
        event(-1, 2, "driver died", detected=3.0),
        event(1, 3, "kill_node", node="b", injected=7.0),
        event(-1, 3, "death", node="b", block=0, detected=7.5, recovered=8.0),
        event(-1, 3, "death", node="b", block=1, detected=7.7, recovered=9.0),
        event(-1, 4, "driver died", detected=11.0),
    ]
    records = [record(r, t, 1.0, ok=4) for r, t in ((1, 1.0), (2, 6.0), (3, 10.0), (4, 13.0))]
    found = explain(run_folder(tmp_path / "run", records, events, [x for r in (1, 2, 3, 4) for x in rows(r)]))
    of = kinds(found)
    assert of.keys() == {"kill_driver", "kill_node", "death", "driver died"}
    assert (of["kill_driver"].found_after.worst_s, of["kill_driver"].made_good_after.worst_s) == (1.0, 3.0)
    assert (of["kill_node"].found_after.worst_s, of["kill_node"].made_good_after.worst_s) == (0.5, 1.5)
    assert (of["driver died"].unplanned, of["driver died"].made_good_after.worst_s) == (1, 2.0)
    assert found.caused == 2
    assert "the time in which no driver ran is in no round" in sentences(found)[2]


def test_calm_run_is_one_sentence(tmp_path: Path):
    folder = run_folder(tmp_path / "run", [record(1, 1.0, 1.0, ok=4), record(2, 2.0, 1.0, ok=4)], [], None)
    assert sentences(explain(folder)) == [
        "No fault was planned and none happened in 2 rounds, and each of the 8 clients of all cohorts has its fate, ok."
    ]
    console = Console(width=80, record=True, file=StringIO())
    show(console, explain(folder), "press-line", 10)
    assert "by kind" not in console.export_text()
    failed = run_folder(tmp_path / "failed", [record(1, 1.0, 1.0, ok=1)], [], None, state="failed", error="no room.")
    assert sentences(explain(failed)) == [
        "No fault was planned and none happened in 1 round, and the one client has its fate, ok, but the run failed: "
        "no room."
    ]


@pytest.mark.parametrize(
    "ledger", [rows(1)[:3], [*rows(1)[:3], row(1, 3)], [*rows(1)[:3], row(1, 4, "lost")], [row(2, 1)]]
)
def test_ledger_that_does_not_close_is_told(ledger: list[dict[str, Any]], tmp_path: Path):
    found = explain(run_folder(tmp_path / "run", [record(1, 1.0, 1.0, ok=4)], [], ledger))
    assert (found.fates.open_rounds, found.fates.is_closed, found.is_calm) == ((1,), False, False)
    assert sentences(found)[3] == ("The ledger does not close: not every client of round 1 has exactly one fate there.")


def test_run_that_goes_on_and_run_that_failed_at_once(tmp_path: Path):
    records = [record(1, 1.0, 1.0, ok=4), record(2, 2.0, 1.0, ok=4)]
    kill = event(0, 2, "kill", block=0, injected=1.1, detected=1.1, num_recomputed=2, recomputed_s=0.25)
    going = sentences(explain(run_folder(tmp_path / "on", records, [kill], rows(1), state="running")))
    assert going[3].endswith("has exactly one fate; the ledger has not got the last 1 round yet.")
    assert going[5] == "The run is going on, and this is how it stands after 2 recorded rounds."
    young = sentences(explain(run_folder(tmp_path / "young", records, [kill], None, state="running")))
    assert young[2].startswith("2 clients were trained again, for 0.250 s; ")
    assert young[3].endswith("by the records of the rounds; the ledger itself is not written yet.")
    failed = run_folder(tmp_path / "failed", [], [kill], None, state="failed", error="block 0 lost its actor")
    assert sentences(explain(failed))[2:] == [
        "2 clients were trained again, for 0.250 s, and no recorded round was disturbed.",
        "No round was recorded, so no client has a fate yet.",
        "There is no result yet that could be changed.",
        "The run failed after 0 recorded rounds: block 0 lost its actor.",
    ]


def test_plan_of_later_rounds_and_clients_that_fail_by_themselves(tmp_path: Path):
    records = [record(1, 1.0, 1.0, ok=4)]
    later = sentences(explain(run_folder(tmp_path / "later", records, [], rows(1), [due(5, "kill", block=0)])))
    assert later[:3] == [
        "No fault was planned for these rounds; 1 entry of the plan for later rounds.",
        "No fault happened.",
        "No client was trained again, and no recorded round was disturbed.",
    ]
    records = [record(1, 1.0, 1.0, ok=3, failed=1)]
    found = explain(run_folder(tmp_path / "own", records, [], rows(1, c4="failed")))
    assert sentences(found)[1] == "No fault happened, yet clients were lost."
    assert happenings(found.rounds[0]) == "clients failed without a fault"
    assert kinds(found)[NO_EVENT].lost.examples == pytest.approx(40 / 3)
    assert found.fates.num_guessed == 1


def test_damaged_folder_and_no_folder_are_refused(tmp_path: Path):
    with pytest.raises(RunFolderError, match="has no finished round yet"):
        explain(run_folder(tmp_path / "empty", [], [], None))
    with pytest.raises(RunFolderError, match="is no folder"):
        explain(tmp_path / "nowhere")
    with pytest.raises(RunFolderError, match=r"faults\.jsonl is damaged: line 1"):
        explain(run_folder(tmp_path / "faults", [], [{"fault": 1}], None))
    with pytest.raises(RunFolderError, match=r"rounds\.jsonl is damaged: line 1 has no round"):
        explain(run_folder(tmp_path / "rounds", [{"cohort": 1}], [], None))
    with pytest.raises(RunFolderError, match="the ledger has no column fate"):
        explain(run_folder(tmp_path / "old", [record(1, 1, 1, ok=1)], [], [{"round": 1, "client": 1}]))


@pytest.mark.parametrize(("share", "text"), [(0.0, "0.00 %"), (1e-6, "< 0.01 %"), (0.5, "50.00 %")])
def test_no_loss_reads_as_none(share: float, text: str):
    assert percent(share) == text


def test_every_kind_has_words():
    assert KINDS.keys() <= WORDS.keys()


@pytest.mark.parametrize("num", [0, 1, 40, 400])
def test_picture(num: int, tmp_path: Path):
    times = {"injected": 0.1, "detected": 0.2, "recovered": 0.4}
    events = [event(r, r, "kill", block=0, **{n: r + t for n, t in times.items()}) for r in range(1, num + 1, 3)]
    events += [event(99, 1, "exception", client=1, block=0, injected=1.0, detected=1.0)]
    records = [record(r, r + 1.0, 40.0 if r == 5 else 1.0, ok=4) for r in range(1, num + 1)]
    found = explain(run_folder(tmp_path / "run", records, events, None))
    plot(found, tmp_path / "explain.png", "press-line")
    assert (tmp_path / "explain.png").stat().st_size > 10_000
    over_time, over_rounds = draw(found, "press-line").axes
    legend: Any = over_rounds.get_legend()
    assert [text.get_text() for text in over_time.get_yticklabels()] == ["kill", "exception"] if num else ["exception"]
    labels = {text.get_text() for text in legend.get_texts()} if num else set[str]()
    calm = {"undisturbed", "median, undisturbed"} if num > 1 else set[str]()
    assert labels == ({"disturbed"} | calm if num else set())
    assert [text.get_text() for text in over_rounds.texts] == (
        ["no round was recorded"] if not num else ["40.00 s"] if num > 1 else []
    )
