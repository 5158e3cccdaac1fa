import json

import pytest

from rasa_ft.errors import DataError
from rasa_ft.files import fingerprint
from rasa_ft.training.template import PROMPT_FILE, check_template, template_hash, template_of_data


@pytest.fixture
def places(tmp_path):
    """The folders of a model and its data, with the same template."""
    model, data = tmp_path / "finetuned" / "merged", tmp_path / "output"
    for folder in (model, data):
        folder.mkdir(parents=True)
    for folder in (model.parent, data):
        (folder / PROMPT_FILE).write_text("{{ user_message }}\n")
    return model, data


def record(file, wanted):
    content = (
        {"inputs": {PROMPT_FILE: wanted}} if file.name == "manifest.json" else {"hashes": {"student_prompt": wanted}}
    )
    file.write_text(json.dumps(content))


def test_the_hash_is_the_one_in_params(places):
    template = places[1] / PROMPT_FILE
    assert template_hash(template) == fingerprint(template)


def test_the_template_of_rows_stands_above_them(places):
    _, data = places
    rows = data / "4_train_test_split" / "ft_splits" / "train.jsonl"
    assert template_of_data(rows) == (data / PROMPT_FILE).resolve()
    assert template_of_data(rows.parent / "a" / "b" / "train.jsonl") is None


def test_a_changed_template_beside_the_model_is_found(places):
    model, data = places
    template = model.parent / PROMPT_FILE
    record(model.parent / "manifest.json", template_hash(template))
    check_template(template, model, data)
    template.write_text("Be nice. {{ user_message }}\n")
    with pytest.raises(DataError, match=r"finetuned/student_prompt.jinja2 is not .*manifest.json has another hash"):
        check_template(template, model, data)


def test_the_manifest_goes_before_newer_data(places):
    model, data = places
    template = model.parent / PROMPT_FILE
    record(model.parent / "manifest.json", template_hash(template))
    record(data / "params.yaml", "of other data")
    check_template(template, model, data)


def test_a_changed_template_in_the_data_is_found(places):
    model, data = places
    template = data / PROMPT_FILE
    record(data / "params.yaml", template_hash(template))
    check_template(template, model, data)
    template.write_text("Be nice. {{ user_message }}\n")
    with pytest.raises(DataError, match=r"output/params.yaml has another hash"):
        check_template(template, model, data)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"inputs": {}}', "{"])
def test_records_that_say_nothing_check_nothing(places, content):
    model, data = places
    (model / "manifest.json").write_text(content)
    (data / "params.yaml").write_text(content)
    check_template(data / PROMPT_FILE, model, data)
