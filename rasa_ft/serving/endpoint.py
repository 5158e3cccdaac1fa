"""The lines for an assistant's endpoints.yml and config.yml that connect it to a model served here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rasa_ft.llm.config import SELF_HOSTED, ModelConfig, ModelGroup
from rasa_ft.yaml_source import dump_yaml

MAX_TOKENS = 256
TIMEOUT = 10


@dataclass(frozen=True)
class Endpoint:
    """A served model as a client sees it. ``url`` ends in /v1; ``timeout`` is in seconds.

    Temperature, the cap on the answer and the timeout are always written: no defaults are merged for self-hosted
    models, so that without them the server would sample and an answer could take minutes.
    """

    url: str
    model_name: str
    max_tokens: int = MAX_TOKENS
    timeout: float = TIMEOUT
    group: str = "finetuned"

    def model_group(self) -> ModelGroup:
        """The same as a model group, for `rasa_ft.llm.groups.build_llm`."""
        parameters = {"temperature": 0.0, "max_tokens": self.max_tokens}
        model = ModelConfig(SELF_HOSTED, self.model_name, self.url, timeout=self.timeout, parameters=parameters)
        return ModelGroup(self.group, (model,))

    def endpoints_yml(self) -> str:
        """What belongs into endpoints.yml."""
        model = {
            "provider": SELF_HOSTED,
            "model": self.model_name,
            "api_base": self.url,
            "temperature": 0.0,
            "max_tokens": self.max_tokens,
            "timeout": int(self.timeout) if float(self.timeout).is_integer() else self.timeout,
        }
        return dump_yaml({"model_groups": [{"id": self.group, "models": [model]}]})

    def config_yml(
        self, prompt_template: Path | str | None = None, generator: str = "CompactLLMCommandGenerator"
    ) -> str:
        """What belongs into config.yml; the template has to be the one that the model was trained with."""
        component: dict[str, object] = {"name": generator, "llm": {"model_group": self.group}}
        if prompt_template:
            component["prompt_template"] = str(prompt_template)
        # A clock and retrieved flows were not in the prompts that the model was trained with.
        component |= {"include_date_time": False, "flow_retrieval": {"active": False}}
        return dump_yaml({"pipeline": [component]})

    def snippet(self, prompt_template: Path | str | None = None) -> str:
        """Both files' lines as one text, each under a comment with the file's name."""
        return f"# endpoints.yml\n{self.endpoints_yml()}\n# config.yml\n{self.config_yml(prompt_template)}"
