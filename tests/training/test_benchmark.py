"""benchmarks/training.py: its pure parts, and each of its modes once with a model so small that it takes a second."""

import json
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="training libraries are not installed")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def options(tiny_base, prepared, tmp_path) -> list[str]:
    return [
        f"--out={tmp_path / 'out'}",
        f"--data={prepared}",
        "--set=lora={r: 4}",
        f"--set=base_model={tiny_base}",
        "--set=prefix_sharing={enabled: true, groups_per_step: 3, wordings_per_group: 2}",
        "--micro-batch=2",
    ]


def results(options: list[str], mode: str, *more: str) -> list[dict]:
    """What a mode, run in this process, leaves in its file."""
    import training
    from training_run import measure

    assert training.main([mode, *options, *more], measure=measure) == 0
    out = Path(options[0].removeprefix("--out="))
    assert (out / "training.md").read_text().startswith("# Prefix sharing against plain TRL\n")
    return json.loads((out / f"training-{mode}.json").read_text())["results"]


def test_tokens(options):
    (found,) = results(options, "tokens")
    # 6 turns of 3 wordings, in steps of 3 handfuls of 2 rows or 1
    assert (found["steps"], found["rows_of_a_step"]) == (4, 4.5)
    assert found["fewer_tokens"] == pytest.approx(found["row_tokens"] / found["shared_tokens"], rel=0.02)
    assert found["fewer_tokens"] > 2


def test_gradients(options):
    found = results(options, "gradients")
    assert [one["name"] for one in found] == [
        "plain TRL, fp32",
        "prefix sharing, fp32",
        "plain TRL, bf16",
        "prefix sharing, bf16",
    ]
    assert found[0]["difference"] == 0
    assert 0 < found[1]["difference"] < 1e-5
    assert 1e-5 < found[2]["difference"] < 0.1
    assert 1e-5 < found[3]["difference"] < 0.1


def test_speed(options):
    (found,) = results(options, "speed", "--precision=fp32", "--steps=2", "--tree")
    assert found["steps"] == 2
    assert found["plain_rows_timed"] == found["rows_timed"]
    assert found["fewer_tokens"] >= found["fewer_tokens_without_padding"] > 2
    assert found["plain_seconds"] > 0
    assert found["shared_seconds_without_fast_layers"] > 0
    assert found["plain_peak_mib"] > 100


def test_speed_of_plain_training_on_some_rows(options):
    (found,) = results(options, "speed", "--precision=fp32", "--plain-rows=2", "--padding-free")
    assert found["plain_rows_timed"] == 2
    # one token more or less by rounding: padding-free computes the tokens of the rows
    assert found["fewer_tokens"] == pytest.approx(found["fewer_tokens_without_padding"], abs=0.02)


def test_lengths(options):
    found = results(options, "lengths", "--lengths", "300", "600", "--precision=fp32", "--plain-rows=2")
    shorter, longer = found
    assert 260 < shorter["static_tokens"] < 360
    assert 560 < longer["static_tokens"] < 660
    assert longer["fewer_tokens"] > shorter["fewer_tokens"]
    assert (Path(options[0].removeprefix("--out=")) / "training-lengths.png").is_file()


def test_curves(options):
    (found,) = results(options, "curves", "--precision=fp32", "--steps=3")
    assert len(found["plain"]["losses"]) == len(found["shared"]["losses"]) == 3
    assert found["largest_difference"] < 1e-4
    assert (Path(options[0].removeprefix("--out=")) / "training-curves-fp32.png").is_file()


def test_results_of_other_names_stay(tmp_path):
    from training_report import kept

    kept(tmp_path, "speed", [{"name": "a", "faster": 1}, {"name": "b", "faster": 2}], {"cores": 2})
    kept(tmp_path, "speed", [{"name": "b", "faster": 3}], {"cores": 4})
    found = json.loads((tmp_path / "training-speed.json").read_text())["results"]
    assert found == [{"name": "a", "faster": 1, "cores": 2}, {"name": "b", "faster": 3, "cores": 4}]


def measured(kind: str, *, rows: int, executed: int, row_tokens: int, seconds: float):
    from training_run import Measured, Run

    run = Run(kind=kind, data="somewhere")
    return Measured(run, [2.0], [seconds], [2 * seconds], [rows], [executed], [row_tokens], 50, 1000, 0.1)


def test_plain_times_of_some_rows_are_scaled_up():
    from training_report import compared

    plain = measured("plain", rows=2, executed=220, row_tokens=200, seconds=4)
    shared = measured("shared", rows=6, executed=100, row_tokens=600, seconds=2)
    found = compared("case", plain, shared)
    assert (found["plain_seconds"], found["faster"], found["less_cpu_time"]) == (12, 6, 6)
    assert (found["plain_tokens"], found["fewer_tokens"], found["fewer_tokens_without_padding"]) == (660, 6.6, 6)


def test_a_missed_target_is_said():
    from training_report import compared, markdown

    plain = measured("plain", rows=6, executed=600, row_tokens=600, seconds=4)
    result = compared("case", plain, measured("shared", rows=6, executed=100, row_tokens=600, seconds=2))
    text = markdown({"speed": [{**result, "cores": 2}]})
    assert "| 2.0 (missed) |" in text
    assert "Load average before the runs: 0.1 to 0.1 on 2 cores." in text


@pytest.mark.parametrize(
    ("count", "parts", "sizes"), [(30, 8, [3, 4, 4, 4, 3, 4, 4, 4]), (8, 8, [1] * 8), (5, 2, [2, 3])]
)
def test_micro_batches_keep_order_and_are_about_equal(count, parts, sizes):
    from training_trainers import split

    found = split(count, parts)
    assert [len(part) for part in found] == sizes
    assert [index for part in found for index in part] == list(range(count))


def test_made_up_flows_go_into_what_all_prompts_begin_with():
    from training_data import lengthened, made_up_flows

    rows = [
        {"messages": [{"role": "user", "content": f"Flows:\na: x\nUSER: {end}"}, {"role": "assistant"}]} for end in "xy"
    ]
    lines = made_up_flows(90)
    assert len(set(lines)) == 90
    found = lengthened(rows, lines[:2])
    assert [row["messages"][0]["content"] for row in found] == [
        f"Flows:\na: x\n{lines[0]}{lines[1]}USER: {end}" for end in "xy"
    ]
    assert found[0]["messages"][1] == rows[0]["messages"][1]


def test_gradients_need_those_in_fp32_first(options, capsys):
    import training

    with pytest.raises(SystemExit) as stopped:
        training.main(["gradients", *options, "--precision", "bf16"])
    assert stopped.value.code == 2
    assert "fp32" in capsys.readouterr().err
