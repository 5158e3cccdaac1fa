"""The result of data preparation in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rasa_ft.recipe.annotate import Annotation
from rasa_ft.recipe.compose import Dropped
from rasa_ft.recipe.conversations import DataPoint, RephrasedConversation
from rasa_ft.recipe.split import Leakage, Split
from rasa_ft.yaml_source import load_yaml, plain


@dataclass(frozen=True)
class Summary:
    """``figures`` is the content of result_summary.yaml; ``unchanged``: the files were up to date and were left."""

    out: Path
    figures: dict[str, Any] = field(default_factory=dict)
    unchanged: bool = False

    def __getitem__(self, name: str) -> Any:
        return self.figures[name]

    @classmethod
    def load(cls, out: Path, file: Path) -> Summary:
        """The summary of an earlier run."""
        return cls(out, plain(load_yaml(file)), unchanged=True)


def figures(
    *,
    annotation: Annotation,
    num_input: int,
    rephrased: Sequence[RephrasedConversation],
    parts: Split,
    leakage: Leakage,
    train: Sequence[DataPoint],
    validation: Sequence[DataPoint],
    dropped: Sequence[Dropped],
    duplicates: int,
) -> dict[str, Any]:
    """All figures; the first nine have the names and meanings of rasa-pro's summary."""
    turns = [turn for conversation in rephrased for turn in conversation.turns]
    passing = sum(len(turn.passing) for turn in turns)
    failing = sum(len(turn.failing) for turn in turns)
    return {
        "num_input_e2e_tests": num_input,
        "num_annotated_conversations": len(rephrased),
        "num_user_messages_across_conversations": sum(turn.turn.annotated for turn in turns),
        "num_user_messages_to_rephrase_across_conversations": sum(turn.turn.rephrase for turn in turns),
        "num_passing_rephrased_user_messages": passing,
        "num_failing_rephrased_user_messages": failing,
        "num_ft_data_points": len(train) + len(validation),
        "num_train_data_points": len(train),
        "num_val_data_points": len(validation),
        "num_skipped_e2e_tests": len(annotation.skipped),
        "num_rephrasing_errors": sum(turn.num_errors for turn in turns),
        "num_train_conversations": len(parts.train),
        "num_validation_conversations": len(parts.validation),
        "num_dropped_new_conversations": len(dropped),
        "num_duplicate_data_points_removed": duplicates,
        "train_data_points_by_kind": dict(sorted(Counter(point.kind for point in train).items())),
        "leakage": {
            "validation_messages": leakage.validation_messages,
            "of_these_found_in_training": leakage.seen_in_training,
            "training_rows_dropped": leakage.train_rows_dropped,
            "validation_rows_dropped": leakage.validation_rows_dropped,
        },
        "judged_but_never_trained": [_in_words(skill) for skill in parts.only_in_validation],
        "trained_but_never_judged": [_in_words(skill) for skill in parts.not_in_validation],
        "skipped_e2e_tests": [
            {"test": skipped.case, "error" if skipped.is_error else "reason": skipped.reason}
            for skipped in annotation.skipped
        ],
        "dropped_new_conversations": [
            {"test": drop.conversation, "history": drop.history, "reason": drop.reason} for drop in dropped
        ],
    }


def _in_words(skill: tuple[str, str, str]) -> str:
    command, flow, slot = skill
    return command + (f" {slot}" if slot else "") + (f" in {flow}" if flow else "")
