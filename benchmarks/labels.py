"""Which wrong labels data preparation finds, by what, and how many right ones it takes for wrong.

The set is tests/recipe/label_set: rephrasings at real places in the tests of examples/bot, one in twenty wrong. Further
figures are of ten other sets that the same script makes. The teacher, and the second model where one is asked, are
made up: the teacher repeats the original's commands for a third of the wrong ones, and the second model is right in
97 of 100 cases, independently of the teacher. So the column `second opinion` says what follows from that, and nothing
about any real model.

Run it as `python benchmarks/labels.py`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "recipe"))

from label_set.make import example, load_items, make, sources
from label_set.measure import caught, false_alarms, findings, table

from rasa_ft.recipe.conversations import RephrasedConversation, RephrasedTurn, Wording
from rasa_ft.recipe.labelling.audit import audited
from rasa_ft.recipe.labelling.review import Review

_OTHER_SETS = range(100, 110)
_SECOND_MODEL = 0.97


def main() -> None:
    engine, conversations = example()
    pool = sources(engine, conversations)
    sets = [make(engine, pool, seed) for seed in _OTHER_SETS]
    for title, opinion in (("default settings", None), ("with a second opinion", _SECOND_MODEL)):
        print(f"\n{title}")
        print("\n".join(table(findings(engine, conversations, load_items(), opinion_is_right=opinion))))
        found = [findings(engine, conversations, items, opinion_is_right=opinion) for items in sets]
        alarms = [false_alarms(one) for one in found]
        print(
            f"{len(sets)} other sets: caught {mean(map(caught, found)):.1%} (worst {min(map(caught, found)):.1%}), "
            f"false alarms {mean(alarms):.2%} (worst {max(alarms):.2%})"
        )
    texts = {(source.test, source.index): source for source in pool}
    whole = [
        RephrasedConversation(
            done,
            tuple(
                RephrasedTurn(turn, tuple(Wording(text, turn.commands) for text in texts[done.key, index].texts))
                if (done.key, index) in texts
                else RephrasedTurn(turn)
                for index, turn in enumerate(done.turns)
            ),
        )
        for done in conversations
    ]
    started = time.process_time()
    turns = [turn for done in audited(whole, engine.slots, Review()) for turn in done.turns]
    seconds = time.process_time() - started
    wordings = sum(len(source.texts) for source in pool)
    doubts, originals = sum(len(turn.doubts) for turn in turns), sum(turn.turn.doubt is not None for turn in turns)
    print(f"\naudit of all {wordings} good rephrasings and {len(pool)} messages: {doubts} and {originals} suspected, ")
    print(f"{seconds:.1f} s of CPU time")


if __name__ == "__main__":
    main()
