"""The result of data preparation in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rasa_ft.recipe.conversations import DataPoint
from rasa_ft.recipe.gathering import Gathered
from rasa_ft.recipe.labelling.review import Review
from rasa_ft.recipe.rows.points import Dropped
from rasa_ft.recipe.splitting.overlap import Leakage, Overlap
from rasa_ft.recipe.splitting.split import Split, in_words
from rasa_ft.recipe.wordings.diversity import Diversity
from rasa_ft.yaml_source import load_yaml, plain

# Of result_summary.yaml: calls failed for good, so another run may give more data.
INCOMPLETE = "incomplete"


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
    gathered: Gathered,
    num_input: int,
    parts: Split,
    leakage: Leakage,
    overlap: Overlap,
    diversity: Diversity,
    train: Sequence[DataPoint],
    validation: Sequence[DataPoint],
    dropped: Sequence[Dropped],
    duplicates: int,
    scrubbed: Mapping[str, int],
    review: Review,
) -> dict[str, Any]:
    """All figures; the first nine have the names and meanings of rasa-pro's summary."""
    rephrased = gathered.conversations
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
        INCOMPLETE: gathered.num_errors > 0 or any(drop.is_error for drop in dropped),
        "num_skipped_e2e_tests": len(gathered.skipped),
        "num_rephrasing_errors": sum(turn.num_errors for turn in turns),
        "num_gold_conversations": sum(done.conversation.is_gold for done in rephrased),
        "num_rephrasings_in_doubt": sum(len(turn.doubts) for turn in turns),
        "num_user_messages_in_doubt": sum(turn.turn.doubt is not None for turn in turns),
        "num_review_decisions": len(review.entries),
        "num_train_conversations": len(parts.train),
        "num_validation_conversations": len(parts.validation),
        "num_dropped_new_conversations": sum(not drop.is_row for drop in dropped),
        "num_dropped_rows": sum(drop.is_row for drop in dropped),
        "num_duplicate_data_points_removed": duplicates,
        "scrubbed": dict(scrubbed),
        "train_data_points_by_kind": dict(sorted(Counter(point.kind for point in train).items())),
        "leakage": {
            "validation_messages": leakage.validation_messages,
            "of_these_found_in_training": leakage.seen_in_training,
            "training_rows_dropped": leakage.train_rows_dropped,
            "validation_rows_dropped": leakage.validation_rows_dropped,
        },
        # Of the rows as they are written.
        "overlap": {
            "validation_messages": overlap.messages,
            "of_these_found_in_training": overlap.exact,
            "near_duplicate_share": round(overlap.near, 4),
            "three_word_share": None if overlap.trigrams is None else round(overlap.trigrams, 4),
        },
        "diversity": {name: round(value, 3) for name, value in asdict(diversity).items() if value is not None},
        "judged_but_never_trained": [in_words(skill) for skill in parts.only_in_validation],
        "trained_but_never_judged": [
            {"skill": in_words(skill), "reason": reason} for skill, reason in parts.not_in_validation.items()
        ],
        "held_out_conversations": list(parts.held_out),
        "skipped_e2e_tests": [
            {"test": skipped.case, "error" if skipped.is_error else "reason": skipped.reason}
            for skipped in gathered.skipped
        ],
        "outdated_review_decisions": [
            {"test": entry.test, "turn": entry.turn, "message": entry.message}
            for entry in review.outdated(done.conversation for done in rephrased)
        ],
        "dropped_new_conversations": [
            {"test": drop.conversation, "history": drop.history, "reason": drop.reason}
            for drop in dropped
            if not drop.is_row
        ],
        "dropped_rows": [
            {"test": drop.conversation, "history": drop.history, "error" if drop.is_error else "reason": drop.reason}
            for drop in dropped
            if drop.is_row
        ],
    }
