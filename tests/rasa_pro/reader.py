"""Reads files with rasa-pro's own readers: a program for a Python that has rasa-pro, run by conftest.py.

One request per line on stdin, one answer per line on stdout, both JSON: ``{"read": KIND, …}`` gives what was found, or
``{"refused": MESSAGE}`` where rasa-pro's reader refuses the file. Nothing here needs a licence: files are read, no
command is run. `USED` is all that is called.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

# What of rasa-pro is called: module, name, and the parameters that are passed.
USED = (
    ("rasa.e2e_test.utils.io", "read_test_cases", ("path",)),
    ("rasa.e2e_test.stub_custom_action", "get_stub_custom_action", ("action_endpoint", "action_name")),
    ("rasa.utils.endpoints", "EndpointConfig", ("kwargs",)),
    (
        "rasa.dialogue_understanding_test.io",
        "read_test_suite",
        ("test_case_path", "flows", "custom_command_classes"),
    ),
    ("rasa.dialogue_understanding_test.validation", "validate_test_cases", ("test_cases", "domain")),
    (
        "rasa.dialogue_understanding.commands.command_syntax_manager",
        "CommandSyntaxManager.set_syntax_version",
        ("version",),
    ),
    ("rasa.dialogue_understanding.commands.command_syntax_manager", "CommandSyntaxVersion", ()),
    ("rasa.dialogue_understanding.commands", "CannotHandleCommand", ()),
    ("rasa.dialogue_understanding.generator.command_parser", "parse_commands", ("actions", "flows")),
    ("rasa.core.config.configuration", "Configuration.initialise_empty", ()),
    ("rasa.core.config.available_endpoints", "AvailableEndpoints.read_endpoints", ("endpoint_file",)),
    (
        "rasa.shared.importers.importer",
        "TrainingDataImporter.load_from_config",
        ("config_path", "domain_path", "training_data_paths"),
    ),
    ("rasa.shared.importers.importer", "TrainingDataImporter.get_config", ()),
    ("rasa.shared.importers.importer", "TrainingDataImporter.get_domain", ()),
    ("rasa.shared.importers.importer", "TrainingDataImporter.get_flows", ()),
    ("rasa.shared.importers.importer", "TrainingDataImporter.get_user_domain", ()),
    ("rasa.shared.importers.importer", "TrainingDataImporter.get_user_flows", ()),
    ("rasa.shared.core.flows.flows_list", "FlowsList.validate", ("domain",)),
    ("rasa.shared.providers.mappings", "get_client_config_class_from_provider", ("provider",)),
    ("rasa.shared.utils.llm", "resolve_model_client_config", ("model_config", "model_groups")),
    ("rasa.shared.utils.llm", "validate_jinja2_template", ("template_content",)),
)
_ASSERTION_FIELDS_OF_A_RUN = ("line", "metric_adjective")
_NO_VALUE = "value key is undefined"  # what a slot without `value` holds


def use(module: str, name: str) -> Any:
    """An object of rasa-pro; only what `USED` names."""
    assert any(row[:2] == (module, name) for row in USED), f"{module}.{name} is not in USED"
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def contract() -> list[str]:
    """What is not there as `USED` has it, a line each."""
    missing = []
    for module, name, parameters in USED:
        try:
            found = use(module, name)
            known = inspect.signature(found).parameters if parameters else {}
        except (ImportError, AttributeError) as error:
            missing.append(f"rasa-pro has no {module}.{name}: {error}")
            continue
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
        missing.extend(
            f"rasa-pro's {module}.{name} has no parameter '{parameter}'"
            for parameter in parameters
            if parameter not in known and not (takes_any and parameter == "kwargs")
        )
    return missing


# --- E2E tests -------------------------------------------------------------------------------------------------------


def read_e2e(path: str) -> list[dict[str, Any]]:
    suite = use("rasa.e2e_test.utils.io", "read_test_cases")(path)
    return [
        {
            **_head(suite, case),
            "steps": [_e2e_step(suite, step) for step in case.steps],
            "stubs": dict(_stubs(suite.stub_custom_actions, case)),
        }
        for case in suite.test_cases
    ]


def _head(suite: Any, case: Any) -> dict[str, Any]:
    own = [found for found in suite.fixtures_per_test if (found.test_case_name, found.file) == (case.name, case.file)]
    return {
        "name": case.name,
        "file": case.file,
        "line": case.line,
        "fixtures": [[fixture.name, fixture.slots_set] for found in own for fixture in found.fixtures],
        "metadata": _metadata(suite, case.metadata_name),
    }


def _metadata(suite: Any, name: str | None) -> Any:
    return next((found.metadata for found in suite.metadata if found.name == name), None)


def _e2e_step(suite: Any, step: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"line": step.line}
    if step.actor == "user":
        assertions = [_assertion(assertion) for assertion in step.assertions or []]
        metadata = _metadata(suite, step.metadata_name)
        return {**found, "user": step.text, "metadata": metadata, "assertions": assertions} | (
            {"ordered": True} if step.assertion_order_enabled else {}
        )
    if step.slot_was_set or step.slot_was_not_set:
        slot = [step.get_slot_name(), step.get_slot_value()] if step.is_slot_instance_dict() else [step.get_slot_name()]
        return {**found, "slot_was_set" if step.slot_was_set else "slot_was_not_set": slot}
    return {**found, **({"bot": step.text} if step.template is None else {"utter": step.template})}


def _assertion(assertion: Any) -> dict[str, Any]:
    fields = {name: value for name, value in vars(assertion).items() if name not in _ASSERTION_FIELDS_OF_A_RUN}
    if "slots" in fields:
        fields["slots"] = [
            {"name": slot.name, "line": slot.line, **({} if slot.value == _NO_VALUE else {"value": slot.value})}
            for slot in fields["slots"]
        ]
    if fields.get("buttons"):
        fields["buttons"] = [[button.title, button.payload] for button in fields["buttons"]]
    given = {name: value for name, value in fields.items() if value not in (None, [], set())}
    return {"type": assertion.type(), "line": getattr(assertion, "line", None), **given}


def _stubs(stubs: Any, case: Any) -> Iterator[tuple[str, Any]]:
    """What custom actions answer in ``case``, found as rasa-pro finds it while a test runs."""
    endpoint, stub_of = (
        use("rasa.utils.endpoints", "EndpointConfig"),
        use("rasa.e2e_test.stub_custom_action", "get_stub_custom_action"),
    )
    names = {"test_case_name": case.name.replace(" ", "_"), "test_file_name": Path(case.file).name}
    for action in sorted({key.rpartition("::")[2] for key in stubs or {}}):
        found = stub_of(endpoint(**names, stub_custom_actions=stubs), action)
        if found is not None:
            yield action, {"events": found.events, "responses": found.responses}


# --- assistants ------------------------------------------------------------------------------------------------------


def _importer(config: str, domain: str, data: str) -> Any:
    use("rasa.core.config.configuration", "Configuration.initialise_empty")()
    return use("rasa.shared.importers.importer", "TrainingDataImporter.load_from_config")(config, domain, [data])


def read_project(config: str, domain: str, data: str) -> dict[str, Any]:
    importer = _importer(config, domain, data)
    full = importer.get_domain()
    importer.get_flows().validate(full)
    own = importer.get_user_domain()
    return {
        "config": importer.get_config(),
        "slots": {slot.name: _slot(slot) for slot in own.slots if not slot.is_builtin},
        "responses": own.responses,
        "actions": own.user_actions,
        "session": [own.session_config.session_expiration_time, own.session_config.carry_over_slots],
        "flows": {flow.id: _flow(flow) for flow in importer.get_user_flows()},
    }


def _slot(slot: Any) -> dict[str, Any]:
    return {
        "type": slot.type_name,
        "initial_value": slot.initial_value,
        "values": [value for value in getattr(slot, "values", []) if value != "__other__"],
        "mappings": [mapping.type for mapping in slot.mappings],
    }


def _flow(flow: Any) -> dict[str, Any]:
    return {
        "name": flow.name,
        "description": flow.description,
        "guard": flow.guard_condition,
        "always_include_in_prompt": bool(flow.always_include_in_prompt),
        "persisted_slots": sorted(flow.persisted_slots),
        "steps": [_flow_step(step) for step in flow.steps],
    }


def _flow_step(step: Any) -> dict[str, Any]:
    written = {name: value for name, value in step.as_json().items() if name not in ("next", "metadata")}
    lines = (step.metadata or {}).get("line_numbers")
    branches = [[getattr(link, "condition", None), link.target] for link in step.next.links]
    return {**written, "line": int(lines.split("-")[0]) if lines else None, "branches": branches}


def read_endpoints(path: str) -> dict[str, Any]:
    """The model groups of an endpoints.yml, each model as the class of its provider understands it."""
    endpoints = use("rasa.core.config.available_endpoints", "AvailableEndpoints.read_endpoints")(Path(path))
    resolve = use("rasa.shared.utils.llm", "resolve_model_client_config")
    class_of = use("rasa.shared.providers.mappings", "get_client_config_class_from_provider")
    groups = {}
    for group in endpoints.model_groups or []:
        resolved = resolve({"model_group": group["id"]}, model_groups=endpoints.model_groups)
        groups[group["id"]] = [class_of(model["provider"]).from_dict(model).to_dict() for model in resolved["models"]]
    return groups


def read_template(path: str) -> bool:
    use("rasa.shared.utils.llm", "validate_jinja2_template")(Path(path).read_text(encoding="utf-8"))
    return True


# --- dialogue understanding tests ------------------------------------------------------------------------------------


def read_du(
    path: str, syntax: str, config: str, domain: str, data: str, cannot_handle: bool = False
) -> list[dict[str, Any]]:
    """``cannot_handle``: with that command, which rasa-pro knows only as an additional one."""
    _set_syntax(syntax)
    importer = _importer(config, domain, data)
    more = [use("rasa.dialogue_understanding.commands", "CannotHandleCommand")] if cannot_handle else []
    read = use("rasa.dialogue_understanding_test.io", "read_test_suite")
    suite = read(path, importer.get_flows(), custom_command_classes=more)
    use("rasa.dialogue_understanding_test.validation", "validate_test_cases")(suite.test_cases, importer.get_domain())
    return [
        {**_head(suite, case), "steps": [_du_step(suite, step) for step in case.steps]} for case in suite.test_cases
    ]


def _set_syntax(version: str) -> None:
    manager = "rasa.dialogue_understanding.commands.command_syntax_manager"
    use(manager, "CommandSyntaxManager.set_syntax_version")(use(manager, "CommandSyntaxVersion")(version))


def read_commands(lines: list[str], syntax: str, config: str, domain: str, data: str) -> list[list[str]]:
    """The commands of each line of a model's answer."""
    _set_syntax(syntax)
    flows = _importer(config, domain, data).get_flows()
    parse = use("rasa.dialogue_understanding.generator.command_parser", "parse_commands")
    return [[command.to_dsl() for command in parse(line, flows)] for line in lines]


def _du_step(suite: Any, step: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"line": step.line}
    if step.actor == "user":
        commands = [command.to_dsl() for command in step.commands or []]
        return {**found, "user": step.text, "metadata": _metadata(suite, step.metadata_name), "commands": commands}
    return {**found, **({"bot": step.text} if step.template is None else {"utter": step.template})}


# --- the program -----------------------------------------------------------------------------------------------------

_KINDS: dict[str, Callable[..., Any]] = {
    "contract": contract,
    "e2e": read_e2e,
    "du": read_du,
    "commands": read_commands,
    "project": read_project,
    "endpoints": read_endpoints,
    "template": read_template,
}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    kind = _KINDS[request.pop("read")]
    try:
        return {"found": kind(**request)}
    except AssertionError:
        raise
    except (Exception, SystemExit) as error:  # how a reader refuses is its own affair
        return {"refused": f"{type(error).__name__}: {_message(error)}"}


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # some of rasa-pro's errors cannot say what they are about
        return "(no message)"


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is not plain data: {value!r}")


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # rasa-pro's logs go to stdout
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line)), default=_plain), file=answers, flush=True)


if __name__ == "__main__":
    main()
