from pathlib import Path

from rasa_ft.calm.flows.graph import (
    called_flows,
    collect_steps,
    linked_flows,
    reachable_steps,
    recursive_calls,
    resettable_slots,
    set_slots_steps,
    successors,
    with_called_flows,
)
from rasa_ft.calm.flows.loading import parse_flows
from rasa_ft.calm.flows.model import ActionStep, Branch, Flow
from rasa_ft.errors import Location

PLACE = Location(Path("flows.yml"), 1)

FLOWS = parse_flows(
    """\
flows:
  outer:
    description: outer
    persisted_slots: [kept]
    steps:
      - collect: a
      - call: inner
      - collect: kept
      - collect: stays
        reset_after_flow_ends: false
      - set_slots: [{stays: 1}, {c: 2}]
      - call: inner
      - link: other
  inner:
    description: inner
    persisted_slots: [b_kept]
    steps:
      - collect: b
      - collect: b_kept
      - call: leaf
  leaf:
    description: leaf
    steps:
      - set_slots: [{d: 1}]
      - collect: a
  other:
    description: other
    steps:
      - action: x
        next:
          - if: slots.a
            then: END
          - if: slots.b
            then: END
          - else: last
      - id: last
        action: y
""",
    Path("flows.yml"),
)


def circles(**calls):
    text = "flows:\n" + "".join(
        f"  {name}: {{description: {name}, steps: [{', '.join(f'{{call: {target}}}' for target in targets)}]}}\n"
        for name, targets in calls.items()
    )
    return recursive_calls(parse_flows(text, Path("flows.yml")))


def test_collect_steps_of_called_flows_stand_where_they_are_called():
    assert [step.slot for step in collect_steps(FLOWS["outer"], FLOWS)] == ["a", "b", "b_kept", "a", "kept", "stays"]
    assert [step.slot for step in collect_steps(FLOWS["outer"], FLOWS, resolve_calls=False)] == ["a", "kept", "stays"]
    assert [step.assignments for step in set_slots_steps(FLOWS["outer"], FLOWS)] == [
        (("d", 1),),
        (("stays", 1), ("c", 2)),
    ]


def test_slots_that_a_flow_resets():
    assert resettable_slots(FLOWS["outer"], FLOWS) == ("a", "b", "d", "c")


def test_neighbours():
    outer, other = FLOWS["outer"], FLOWS["other"]
    assert called_flows(outer) == ("inner",)
    assert linked_flows(outer) == ("other",)
    assert [flow.id for flow in with_called_flows(outer, FLOWS)] == ["outer", "inner", "leaf"]
    assert successors(other.steps[0]) == ("END", "last")


def test_reachable_steps():
    assert reachable_steps(FLOWS["other"]) == {"other_0_x", "last"}
    island = (
        ActionStep("a", (Branch(None, "a"), Branch(None, "ghost")), PLACE, action="x"),
        ActionStep("b", (Branch(None, "a"),), PLACE, action="y"),
    )
    assert reachable_steps(Flow("f", "f", "f", island, PLACE)) == {"a"}
    assert reachable_steps(Flow("f", "f", "f", (), PLACE)) == frozenset()


def test_calls_in_circles():
    assert circles(a=["b"], b=["c"], c=["a"]) == (("a", "b", "c", "a"),)
    assert circles(a=["a"]) == (("a", "a"),)
    assert circles(x=["a"], a=["b"], b=["a"]) == (("a", "b", "a"),)
    assert circles(a=["b", "c"], b=["c"], c=["ghost"]) == ()


def test_circles_do_not_trap_the_other_questions():
    flows = parse_flows(
        "flows:\n  a: {description: a, steps: [{collect: x}, {call: b}]}\n  b: {description: b, steps: [{call: a}]}\n",
        Path("flows.yml"),
    )
    assert [step.slot for step in collect_steps(flows["b"], flows)] == ["x"]
    assert [flow.id for flow in with_called_flows(flows["b"], flows)] == ["b", "a"]
