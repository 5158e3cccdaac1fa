"""A broken file hides nothing in other files, and is not complained of twice."""

from __future__ import annotations

from pathlib import Path

from validation_project import CONFIG, DOMAIN, ENDPOINTS, FLOWS, Project, findings, flow, inspect

BROKEN = "a: [\n"


def rules(folder: Path, **changes: str) -> list[str]:
    return sorted(found.rule for found in inspect(folder, **changes))


def test_all_findings_of_all_files_at_once(tmp_path: Path) -> None:
    config = CONFIG.replace("FlowPolicy", "RulePolicy").replace("main", "mian")
    domain = DOMAIN.replace("city: {type: text}", "city: {tpye: text}").replace("Where?", '"Where {}?"')
    text = flow("- action: action_dont", "- collect: cty", keys="    if: slots.flag is\n")
    assert rules(tmp_path, config=config, domain=domain, flows=text) == [
        "empty-placeholder",
        "invalid-condition",
        "no-flow-policy",
        "out-of-scope",
        "unknown-action",
        "unknown-key",
        "unknown-model-group",
        "unknown-slot",
        "unknown-slot-type",
    ]


def test_names_are_not_unknown_because_the_domain_is_broken(tmp_path: Path) -> None:
    text = flow("- collect: size", "- action: action_x", "- link: bok", keys="    if: slots.flag and\n")
    assert rules(tmp_path, domain=BROKEN, flows=text) == ["invalid-condition", "unknown-flow", "unreadable-file"]


def test_one_broken_file_of_a_domain_leaves_the_checks_of_the_others(tmp_path: Path) -> None:
    project = Project()
    domain = project.files.pop("domain.yml")
    project.files |= {"domain/a.yml": domain.replace("Where?", '"{}"'), "domain/b.yml": BROKEN}
    project.files["data/flows.yml"] = flow("- collect: other")
    assert sorted(found.rule for found in findings(project.write(tmp_path))) == ["empty-placeholder", "unreadable-file"]


def test_a_misspelt_section_is_one_finding(tmp_path: Path) -> None:
    (found,) = inspect(tmp_path, domain=DOMAIN.replace("slots:", "slot:"))
    assert found.rule == "broken-section" and "Did you mean 'slots'?" in found.message


def test_an_item_that_cannot_be_read_keeps_its_name(tmp_path: Path) -> None:
    domain = DOMAIN.replace("city: {type: text}", "city: text").replace("[{text: Where?}]", "Where?")
    assert rules(tmp_path, domain=domain, flows=flow("- collect: cty")) == ["unknown-slot", "wrong-type", "wrong-type"]


def test_flows_are_not_unknown_because_their_file_is_broken(tmp_path: Path) -> None:
    project = Project()
    project.files["data/a.yml"] = BROKEN
    project.files["data/flows.yml"] = flow("- call: other", "- action: flow_other", "- action: flow", "- link: other")
    assert sorted(found.rule for found in findings(project.write(tmp_path))) == ["unknown-action", "unreadable-file"]


def test_a_flow_that_cannot_be_read_is_there(tmp_path: Path) -> None:
    assert rules(tmp_path, flows=flow("- link: third") + "  third: x\n") == ["wrong-type"]


def test_persisted_slots_are_not_judged_by_half_a_flow(tmp_path: Path) -> None:
    text = flow("- colect: city", "- collect: cty", keys="    persisted_slots: [city]\n")
    assert rules(tmp_path, flows=text) == ["unknown-slot", "unknown-step-kind"]


def test_an_unreadable_configuration(tmp_path: Path) -> None:
    """Whether there is a language or an adapter is not known then."""
    domain = DOMAIN.replace("city: {type: text}", "city: {type: text, mappings: [{type: from_intent, intent: a}]}")
    text = flow("- collect: cty", keys="    if: slots.language = 'de'\n")
    assert rules(tmp_path, config=BROKEN, domain=domain, flows=text) == ["unknown-slot", "unreadable-file"]


def test_an_unreadable_endpoints_file_has_unknown_groups(tmp_path: Path) -> None:
    assert rules(tmp_path, endpoints=ENDPOINTS + BROKEN) == ["unreadable-file"]


def test_no_domain_and_no_flows_are_two_findings(tmp_path: Path) -> None:
    project = Project()
    project.files.pop("data/flows.yml")
    project.files["domain.yml"] = "version: '3.1'\n"
    assert sorted(found.rule for found in findings(project.write(tmp_path))) == ["no-domain", "no-flows"]


def test_other_csat_values_do_not_break_the_pattern_that_asks_for_them(tmp_path: Path) -> None:
    domain = DOMAIN.replace("slots:", "slots:\n  csat_score: {type: categorical, values: [a, b]}")
    assert rules(tmp_path, domain=domain) == ["csat-values"]


def test_flows_of_the_good_assistant_are_good_beside_a_broken_domain(tmp_path: Path) -> None:
    assert rules(tmp_path, domain=BROKEN, flows=FLOWS) == ["unreadable-file"]
