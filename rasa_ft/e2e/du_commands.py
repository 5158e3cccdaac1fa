"""Which commands a dialogue understanding test may hold, for assistants whose own generator class changed them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rasa_ft.calm import commands as c
from rasa_ft.calm.dsl import Codec
from rasa_ft.errors import UsageError
from rasa_ft.yaml_source import did_you_mean

# The commands of the three syntaxes, by the names that classes of the reference have.
COMMANDS: Mapping[str, type[c.Command]] = {
    "StartFlowCommand": c.StartFlow,
    "SetSlotCommand": c.SetSlot,
    "CancelFlowCommand": c.CancelFlow,
    "ClarifyCommand": c.Clarify,
    "ChitChatAnswerCommand": c.ChitChat,
    "KnowledgeAnswerCommand": c.Knowledge,
    "SkipQuestionCommand": c.SkipQuestion,
    "RepeatBotMessagesCommand": c.Repeat,
    "HumanHandoffCommand": c.HumanHandoff,
    "CannotHandleCommand": c.CannotHandle,
}


@dataclass(frozen=True)
class _Part:
    """A codec without some of its commands: lines with them are no commands, in tests and in answers."""

    whole: Codec
    removed: frozenset[type[c.Command]]

    @property
    def version(self) -> str:
        return self.whole.version

    def dump(self, commands: Iterable[c.Command]) -> str:
        return self.whole.dump(self._kept(commands))

    def parse(self, text: str) -> tuple[c.Command, ...]:
        return self._kept(self.whole.parse(text))

    def _kept(self, commands: Iterable[c.Command]) -> tuple[c.Command, ...]:
        return tuple(command for command in commands if type(command) not in self.removed)


def chosen_commands(codec: Codec, *, additional: Sequence[str] = (), removed: Sequence[str] = ()) -> Codec:
    """``codec`` without the commands that are ``removed`` and not ``additional``.

    Args:
        additional: paths of classes. They are not imported: only their last part is read, and it must be one of
            `COMMANDS`, all of which are known anyway.
        removed: names of classes.

    Raises:
        UsageError: a name is none of `COMMANDS`.
    """
    kept = {_command(name, "--additional-commands", _NOT_RUN) for name in additional}
    gone = {_command(name, "--remove-default-commands", _NO_SUCH) for name in removed}
    return _Part(codec, frozenset(gone - kept)) if gone - kept else codec


_NOT_RUN = "is a class of commands that the embedded engine does not have"
_NO_SUCH = "is no command"


def _command(path: str, option: str, reason: str) -> type[c.Command]:
    name = path.rpartition(".")[2]
    if name not in COMMANDS:
        suggestion = did_you_mean(name, COMMANDS)
        raise UsageError(f"{option}: '{path}' {reason}.{suggestion}", hint=f"Known are {', '.join(COMMANDS)}.")
    return COMMANDS[name]
