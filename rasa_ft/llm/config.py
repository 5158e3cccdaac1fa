"""Which language models an assistant uses: ``model_groups`` of endpoints.yml and inline ``llm:`` entries, as data.

Keys, rules and deprecated names follow CALM projects (https://rasa.com/docs/reference/config/components/llm-configuration).
One provider is ours: ``recorded`` plays back answers from a folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rasa_ft.calm.project.components import known_component
from rasa_ft.calm.project.config import GENERATORS
from rasa_ft.errors import DataError, Location
from rasa_ft.llm.config_rules import AZURE as AZURE
from rasa_ft.llm.config_rules import HUGGINGFACE_LOCAL as HUGGINGFACE_LOCAL
from rasa_ft.llm.config_rules import OPENAI as OPENAI
from rasa_ft.llm.config_rules import RASA as RASA
from rasa_ft.llm.config_rules import RECORDED as RECORDED
from rasa_ft.llm.config_rules import SECRETS, is_amount, problems, provider_of
from rasa_ft.llm.config_rules import SELF_HOSTED as SELF_HOSTED
from rasa_ft.yaml_source import did_you_mean, load_yaml, location_of, plain

ROUTING_STRATEGIES = (
    "simple-shuffle",
    "least-busy",
    "latency-based-routing",
    "cost-based-routing",
    "usage-based-routing",
)

_RENAMED = {
    "model_name": "model",
    "type": "provider",
    "_type": "provider",
    "openai_api_base": "api_base",
    "openai_api_key": "api_key",
    "openai_api_type": "api_type",
    "openai_api_version": "api_version",
    "request_timeout": "timeout",
    "engine": "deployment",
    "deployment_name": "deployment",
}
_NOT_PARAMETERS = frozenset(
    {
        "provider",
        "model",
        "deployment",
        "api_base",
        "api_version",
        "api_type",
        "timeout",
        "use_chat_completions_endpoint",
        "recordings",
        "organization",
        "max_retries",
        "num_retries",
        # Of litellm alone; no server knows it.
        "drop_params",
        "input_cost_per_token",
        "output_cost_per_token",
        *SECRETS,
    }
)
# They take no other temperature than their own.
_REASONING = ("gpt-5", "o1", "o3", "o4")
# Merged into a configuration only if its provider is the default's provider.
COMMAND_DEFAULTS: Mapping[str, Any] = {
    "provider": OPENAI,
    "model": "gpt-5.1-2025-11-13",
    "reasoning_effort": "none",
    "temperature": 1.0,
    "max_completion_tokens": 256,
    "timeout": 7,
}
REPHRASER_DEFAULTS: Mapping[str, Any] = {
    "provider": OPENAI,
    "model": "gpt-5-mini-2025-08-07",
    "reasoning_effort": "minimal",
    "temperature": 1.0,
    "max_completion_tokens": 4096,
    "timeout": 10,
}
SEARCH_DEFAULTS: Mapping[str, Any] = {**REPHRASER_DEFAULTS, "timeout": 60}
JUDGE_DEFAULTS: Mapping[str, Any] = {
    "provider": OPENAI,
    "model": "gpt-4.1-mini-2025-04-14",
    "temperature": 0.0,
    "max_completion_tokens": 4096,
    "timeout": 60,
}
EMBEDDING_DEFAULTS: Mapping[str, Any] = {"provider": OPENAI, "model": "text-embedding-3-large", "timeout": 60}


@dataclass(frozen=True)
class ModelConfig:
    """One model as configured.

    ``parameters`` go into the request as they are. ``secrets`` are ``${NAME}`` references, never values. Prices are in
    whatever currency the budget is, per token.
    """

    provider: str
    model: str
    api_base: str | None = None
    api_version: str | None = None
    deployment: str | None = None
    timeout: float | None = None
    use_chat_completions_endpoint: bool = True
    recordings: str | None = None
    organization: str | None = None
    retries: int | None = None
    input_cost_per_token: float = 0.0
    output_cost_per_token: float = 0.0
    secrets: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    location: Location | None = field(default=None, compare=False)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the answers of this model; no secrets, so that it can be stored and shown."""
        return {
            "provider": self.provider,
            "model": self.model,
            "deployment": self.deployment,
            "api_base": self.api_base,
            "api_version": self.api_version,
            "chat": self.use_chat_completions_endpoint,
            "parameters": dict(self.parameters),
        }


@dataclass(frozen=True)
class Router:
    """How several models share the work; ``cooldown`` in seconds.

    A model rests after more than ``allowed_fails`` failures in a row. ``retries``: further rounds after one in which
    all models failed; None: as many as a single model gets.
    """

    strategy: str = ROUTING_STRATEGIES[0]
    retries: int | None = None
    cooldown: float = 60.0
    allowed_fails: int = 0


@dataclass(frozen=True)
class ModelGroup:
    """Interchangeable models under one name, and how they are chosen from if there are several."""

    id: str
    models: tuple[ModelConfig, ...]
    router: Router = Router()

    @property
    def retries(self) -> int | None:
        return self.router.retries

    @property
    def identity(self) -> dict[str, Any]:
        """As `ModelConfig.identity`, for the group as a whole."""
        if len(self.models) == 1:
            return self.models[0].identity
        return {"any of": [model.identity for model in self.models]}


def load_model_groups(endpoints: Path) -> dict[str, ModelGroup]:
    """The model groups of an endpoints.yml by id; empty if the file is missing or defines none.

    Raises:
        DataError: all problems of the file at once, each with its line.
    """
    if not endpoints.exists():
        return {}
    content = load_yaml(endpoints) or {}
    if not isinstance(content, Mapping):
        raise DataError("a mapping is needed at the top.", location=Location(endpoints, 1))
    nodes = content.get("model_groups") or []
    if not isinstance(nodes, list):
        raise DataError("model_groups must be a list.", location=location_of(content, "model_groups"))
    groups: dict[str, ModelGroup] = {}
    errors: list[DataError] = []
    for index, node in enumerate(nodes):
        try:
            group = _group(node, location_of(nodes, index))
            if group.id in groups:
                raise DataError(f"model group '{group.id}' is defined twice.", location=location_of(node))
            groups[group.id] = group
        except DataError as error:
            errors.append(error)
    if errors:
        raise DataError.collected(errors)
    return groups


def resolve_group(
    llm: Mapping[str, Any] | None, groups: Mapping[str, ModelGroup], *, defaults: Mapping[str, Any]
) -> ModelGroup:
    """The model group that a component's ``llm:`` entry means: a reference, an inline model, or the default.

    Raises:
        DataError: an unknown group, or a reference mixed with inline keys.
    """
    if llm is None:
        return ModelGroup("default", (model_config(defaults),))
    if not isinstance(llm, Mapping):
        raise DataError("llm must be a mapping such as {model_group: name}.", location=location_of(llm))
    if "model_group" not in llm:
        return ModelGroup("inline", (model_config(_with_defaults(llm, defaults), location_of(llm)),))
    if len(llm) > 1:
        extra = next(key for key in llm if key != "model_group")
        raise DataError(
            f"'{extra}' does not go together with model_group.",
            location=location_of(llm, extra),
            hint="Move it to the group in endpoints.yml.",
        )
    name = str(llm["model_group"])
    if name not in groups:
        known = f" Known: {', '.join(sorted(groups))}." if groups else " endpoints.yml defines none."
        raise DataError(
            f"unknown model group '{name}'.{did_you_mean(name, groups)}",
            location=location_of(llm, "model_group"),
            hint=f"Define it under model_groups in endpoints.yml.{known}",
        )
    return _group_with_defaults(groups[name], defaults)


def command_group(project: Path, endpoints: Path | None = None, config: Path | None = None) -> ModelGroup:
    """The model that understands the assistant's users: the one its config.yml (or ``config``) names, or the default.

    Raises:
        DataError: config.yml or endpoints.yml is broken.
    """
    file = config or project / "config.yml"
    content = load_yaml(file)
    groups = load_model_groups(endpoints or project / "endpoints.yml")
    pipeline = content.get("pipeline") if isinstance(content, Mapping) else None
    for component in pipeline or []:
        name = str(component.get("name", "")) if isinstance(component, Mapping) else ""
        if known_component(name, GENERATORS, project) is not None:
            return resolve_group(component.get("llm"), groups, defaults=COMMAND_DEFAULTS)
    return resolve_group(None, groups, defaults=COMMAND_DEFAULTS)


def model_config(node: Mapping[str, Any], location: Location | None = None) -> ModelConfig:
    """One model from its mapping, deprecated names included.

    Raises:
        DataError: a key is missing, forbidden or holds a literal secret; all at once.
    """
    location = location or location_of(node)
    keys = {_RENAMED.get(key, key): value for key, value in plain(node).items()}
    provider = provider_of(keys)
    places = {_RENAMED.get(key, key): location_of(node, key) or location for key in node}
    errors = [DataError(text, location=places.get(key, location)) for key, text in problems(provider, keys)]
    if errors:
        raise DataError.collected(errors)
    if provider in (OPENAI, AZURE) and "max_tokens" in keys:
        keys.setdefault("max_completion_tokens", keys.pop("max_tokens"))
    return ModelConfig(
        provider=provider,
        model=str(keys.get("model") or keys.get("deployment")),
        api_base=_text(keys.get("api_base")),
        api_version=_text(keys.get("api_version")),
        deployment=_text(keys.get("deployment")),
        timeout=float(keys["timeout"]) if keys.get("timeout") is not None else None,
        use_chat_completions_endpoint=bool(keys.get("use_chat_completions_endpoint", True)),
        recordings=_text(keys.get("recordings")),
        organization=_text(keys.get("organization")),
        retries=next((int(keys[key]) for key in ("num_retries", "max_retries") if keys.get(key) is not None), None),
        input_cost_per_token=float(keys.get("input_cost_per_token") or 0),
        output_cost_per_token=float(keys.get("output_cost_per_token") or 0),
        secrets={name: str(keys[name]) for name in SECRETS if keys.get(name)},
        parameters={key: value for key, value in keys.items() if key not in _NOT_PARAMETERS},
        location=location,
    )


def _group(node: Any, location: Location | None) -> ModelGroup:
    if not isinstance(node, Mapping) or not node.get("id"):
        raise DataError("a model group needs an id.", location=location)
    unknown = [key for key in node if key not in ("id", "models", "router")]
    if unknown:
        raise DataError(
            f"unknown key '{unknown[0]}' in model group '{node['id']}'."
            f"{did_you_mean(unknown[0], ('id', 'models', 'router'))}",
            location=location_of(node, unknown[0]),
        )
    models = node.get("models")
    if not isinstance(models, list) or not models:
        raise DataError(f"model group '{node['id']}' has no models.", location=location)
    router = node.get("router")
    if len(models) > 1 and not router:
        raise DataError(
            f"model group '{node['id']}' has {len(models)} models but no router.",
            location=location,
            hint="Add `router: {routing_strategy: simple-shuffle}`.",
        )
    configs = tuple(_member(models, index) for index in range(len(models)))
    return _routed(ModelGroup(str(node["id"]), configs), router) if router else ModelGroup(str(node["id"]), configs)


def _member(models: list[Any], index: int) -> ModelConfig:
    if not isinstance(models[index], Mapping):
        raise DataError("a model must be a mapping.", location=location_of(models, index))
    return model_config(models[index], location_of(models, index))


def _routed(group: ModelGroup, router: Any) -> ModelGroup:
    if not isinstance(router, Mapping):
        raise DataError(f"router of model group '{group.id}' must be a mapping.", location=group.models[0].location)
    strategy = router.get("routing_strategy", ROUTING_STRATEGIES[0])
    if strategy not in ROUTING_STRATEGIES:
        raise DataError(
            f"unknown routing_strategy '{strategy}'.{did_you_mean(str(strategy), ROUTING_STRATEGIES)}",
            location=location_of(router, "routing_strategy"),
        )
    chat = router.get("use_chat_completions_endpoint")
    models = group.models
    if chat is not None:
        models = tuple(replace(model, use_chat_completions_endpoint=bool(chat)) for model in models)
    for key in ("num_retries", "allowed_fails", "cooldown_time", "timeout"):
        if not is_amount(router.get(key)):
            raise DataError(
                f"'{key}' must be a number, 0 or more, not {router[key]!r}.", location=location_of(router, key)
            )
    if router.get("timeout") is not None:
        timeout = float(router["timeout"])
        models = tuple(model if model.timeout else replace(model, timeout=timeout) for model in models)
    retries, cooldown = router.get("num_retries"), router.get("cooldown_time")
    return ModelGroup(
        group.id,
        models,
        Router(
            strategy=str(strategy),
            retries=int(retries) if retries is not None else None,
            cooldown=Router.cooldown if cooldown is None else float(cooldown),
            allowed_fails=int(router.get("allowed_fails") or 0),
        ),
    )


def _with_defaults(llm: Mapping[str, Any], defaults: Mapping[str, Any]) -> Mapping[str, Any]:
    keys = {_RENAMED.get(key, key): value for key, value in llm.items()}
    if provider_of(keys) != defaults["provider"]:
        return llm
    return {**_applicable(defaults, keys), **keys}


def _group_with_defaults(group: ModelGroup, defaults: Mapping[str, Any]) -> ModelGroup:
    return replace(group, models=tuple(_model_with_defaults(model, defaults) for model in group.models))


def _model_with_defaults(model: ModelConfig, defaults: Mapping[str, Any]) -> ModelConfig:
    if model.provider != defaults["provider"]:
        return model
    merged = _applicable(defaults, {"model": model.model, **model.parameters})
    parameters = {key: value for key, value in merged.items() if key not in _NOT_PARAMETERS}
    return replace(
        model,
        timeout=model.timeout if model.timeout is not None else float(defaults["timeout"]),
        parameters={**parameters, **model.parameters},
    )


def _applicable(defaults: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults less those that other models would refuse, such as ``reasoning_effort``."""
    same_family = str(keys.get("model", defaults["model"])).startswith("gpt-5")
    left_out = set() if same_family else {"reasoning_effort"}
    if str(keys.get("model")).startswith(_REASONING) and "reasoning_effort" not in defaults:
        left_out.add("temperature")
    if "max_tokens" in keys:
        left_out.add("max_completion_tokens")
    return {key: value for key, value in defaults.items() if key not in left_out}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
