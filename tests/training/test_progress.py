"""What a training log holds, and how it is cut back to a checkpoint."""

import json

from rasa_ft.training.memory import MemoryUse
from rasa_ft.training.progress import Progress, Tokens, append_line, cut_log, read_log


def test_a_log_is_cut_back_to_a_checkpoint(tmp_path):
    log = tmp_path / "training_log.jsonl"
    steps = [Progress(step=step, steps=9, loss=1 / step, tokens_computed=10 * step) for step in (1, 2, 3)]
    for step in steps:
        append_line(log, step)
    with log.open("a") as stream:
        stream.write('{"step": 4, "lo')
    assert cut_log(log, 2) == steps[1]
    assert [line["step"] for line in read_log(log)] == [1, 2]
    append_line(log, steps[2])
    assert json.loads(log.read_text().splitlines()[-1])["tokens_computed"] == 30
    assert cut_log(log, 0).step == 0
    assert cut_log(tmp_path / "none.jsonl", 5).tokens == Tokens()


def test_lines_of_other_versions_are_understood(tmp_path):
    (tmp_path / "log").write_text('{"step": 3, "loss": 0.5, "tokens": 12}\n')
    assert cut_log(tmp_path / "log", 3) == Progress(step=3, loss=0.5)


def test_tokens_add_up():
    assert Tokens(1, 2, 3) + Tokens(10, 20, 30) == Tokens(11, 22, 33)


def test_memory_is_told_as_shares_of_the_device():
    figures = MemoryUse("GPU", total_gib=40.0, before_gib=6.0, peak_gib=10.0).figures()
    assert (figures["memory_training_gib"], figures["memory_peak_percent"]) == (4.0, 25.0)
    assert figures["memory_training_percent"] == 10.0
