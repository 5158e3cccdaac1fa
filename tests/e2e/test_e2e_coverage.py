from __future__ import annotations

from pathlib import Path

from rasa_ft.calm.events import (
    ActionExecuted,
    BotUttered,
    Event,
    FlowCompleted,
    FlowStarted,
    SlotSet,
)
from rasa_ft.calm.flows.model import (
    END,
    ActionStep,
    Branch,
    CallStep,
    CollectStep,
    Flow,
    LinkStep,
    NoopStep,
    SetSlotsStep,
    Step,
)
from rasa_ft.e2e.coverage import CoverageReport, coverage, covered_nodes, table, unmet_targets
from rasa_ft.errors import Location

FILE = Path("bot/data/flows.yml")


def at(line: int) -> Location:
    return Location(FILE, line, line + 1)


def to(*targets: str) -> tuple[Branch, ...]:
    return tuple(Branch(None, target) for target in targets)


def flow(flow_id: str, *steps: Step) -> Flow:
    return Flow(flow_id, flow_id.replace("_", " "), "", steps, at(1))


BOOK = flow(
    "book_room",
    CollectStep("ask", to("find"), at(3), slot="city", utter="utter_ask_city"),
    CallStep("find", to("noop"), at(5), flow="find_room"),
    NoopStep("noop", to("yes", "no"), at(7)),
    ActionStep("yes", to("set"), at(9), action="utter_yes"),
    ActionStep("no", to(END), at(11), action="action_silent"),
    SetSlotsStep("set", to("more"), at(13), assignments=(("city", None),)),
    LinkStep("more", (), at(15), flow="sell"),
    ActionStep("orphan", to(END), at(17), action="utter_never"),
)
FIND = flow("find_room", CollectStep("beds", to(END), at(30), slot="beds", utter="utter_ask_beds"))
SELL = flow("sell", ActionStep("pitch", to(END), at(40), action="utter_pitch"))
EMPTY = flow("empty", NoopStep("nothing", to(END), at(50)))
PATTERN = flow("pattern_x", ActionStep("p", to(END), at(60), action="utter_p"))
FLOWS = {found.id: found for found in (BOOK, FIND, SELL, EMPTY, PATTERN)}


def missing(*events: Event) -> dict[str, list[str]]:
    report = coverage(FLOWS, [events])
    return {found.flow.id: [step.id for step in found.missing] for found in report.flows}


def test_only_reachable_visible_steps_of_user_flows_count() -> None:
    assert missing() == {"book_room": ["ask", "find", "yes", "no", "more"], "find_room": ["beds"], "sell": ["pitch"]}


def test_every_event_covers_its_step() -> None:
    events = (
        BotUttered("Where?", flow_id="book_room", step_id="ask"),
        ActionExecuted("action_silent", flow_id="book_room", step_id="no"),
        FlowStarted(flow_id="find_room", parent_flow_id="book_room", parent_step_id="find"),
        FlowCompleted(flow_id="book_room", step_id="more"),
        BotUttered("?", flow_id="pattern_x", step_id="p"),
    )
    assert missing(*events) == {"book_room": ["yes"], "find_room": ["beds"], "sell": ["pitch"]}


def test_slots_filled_before_they_are_asked_count() -> None:
    assert ("book_room", "ask") in covered_nodes(FLOWS, [SlotSet("city", "Bern", flow_id="book_room")])
    in_called = [
        SlotSet("beds", 2, flow_id="book_room"),
        FlowStarted(flow_id="find_room", parent_flow_id="book_room", parent_step_id="find"),
    ]
    assert ("find_room", "beds") in covered_nodes(FLOWS, in_called)


def test_fixtures_resets_and_set_slots_steps_do_not_count() -> None:
    events = (
        SlotSet("city", "Bern"),
        SlotSet("city", None, flow_id="book_room", reset=True),
        SlotSet("city", None, flow_id="book_room", step_id="set"),
        SlotSet("beds", 2, flow_id="book_room"),
        SlotSet("beds", None, flow_id="book_room", reset=True),
        FlowStarted(flow_id="find_room", parent_flow_id="book_room", parent_step_id="find"),
    )
    assert "ask" in missing(*events)["book_room"]
    assert missing(*events)["find_room"] == ["beds"]


def test_totals_are_weighted_by_steps() -> None:
    report = coverage(FLOWS, [[BotUttered("x", flow_id="sell", step_id="pitch")], []])
    assert (report.steps, report.missing, round(report.percent, 2)) == (7, 6, 14.29)
    assert [round(found.percent) for found in report.flows] == [0, 0, 100]
    assert not report.reaches_targets
    everything = [BotUttered("", flow_id=f.id, step_id=step.id) for f in FLOWS.values() for step in f.steps]
    assert coverage(FLOWS, [everything]).reaches_targets


def test_table_names_file_flow_and_lines() -> None:
    report = coverage(FLOWS, [[BotUttered("x", flow_id="book_room", step_id="ask")]])
    name, percent, steps, lacking, lines = table(report, Path("bot"))[0]
    assert name == "data/flows.yml::book room"
    assert (percent, steps, lacking) == (20.0, 5, 4)
    assert lines == "[5-6, 9-10, 11-12, 15-16]"
    assert table(report)[0][0] == "bot/data/flows.yml::book room"


def test_no_conversation_no_rows() -> None:
    assert coverage(FLOWS, []) == CoverageReport(())
    assert CoverageReport(()).percent == 0.0


def test_unmet_targets() -> None:
    report = coverage(FLOWS, [[BotUttered("x", flow_id="sell", step_id="pitch")]])
    assert unmet_targets(report) == () == unmet_targets(report, minimum=14.28)
    assert unmet_targets(report, minimum=14.29) == ("Coverage of 14.28 % is below 14.29 %.",)  # 14.2857 is not enough
    assert unmet_targets(report, targets=True) == (
        "Coverage of 14.28 % is below 90 %.",
        "Below 80 %: book_room (0 %), find_room (0 %).",
    )
    assert unmet_targets(report, targets=True, minimum=10)[0].startswith("Below 80 %")
