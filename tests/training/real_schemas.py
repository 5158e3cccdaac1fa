"""Rows made by hand in exactly the schema of the data sets that the recipes name, as those sets are stored."""

from __future__ import annotations

import json

RENT = {
    "name": "rent_bicycle",
    "description": "Rent a bicycle at a station.",
    "parameters": {
        "station": {"description": "The station's name", "type": "str", "default": "harbour"},
        "hours": {"description": "How long", "type": "int", "default": "2"},
    },
}


def xlam(number: int = 0) -> dict[str, object]:
    """Salesforce/xlam-function-calling-60k: id, and three texts, two of them JSON."""
    calls = [{"name": "rent_bicycle", "arguments": {"station": "mill", "hours": number}}]
    return {
        "id": number,
        "query": f"A bicycle at the mill for {number} hours, please.",
        "answers": json.dumps(calls),
        "tools": json.dumps([RENT]),
    }


GRADES_TOOL = {
    "name": "mean_grade",
    "description": "The mean of grades, weighed by hours.",
    "parameters": {
        "type": "object",
        "properties": {"grades": {"type": "array", "items": {"type": "number"}}, "hours": {"type": "array"}},
        "required": ["grades", "hours"],
    },
}


def glaive(number: int = 0) -> dict[str, object]:
    """llamafactory/glaive_toolcall_en: tools is JSON text, calls and observations are JSON text in a message."""
    call = {"name": "mean_grade", "arguments": {"grades": [90, 80 + number], "hours": [3, 1]}}
    return {
        "conversations": [
            {"from": "human", "value": f"My grades are 90 and {80 + number}, for 3 hours and 1 hour."},
            {"from": "function_call", "value": json.dumps(call)},
            {"from": "observation", "value": json.dumps({"mean": 88.5})},
            {"from": "gpt", "value": "Your mean grade is 88.5."},
            {"from": "human", "value": "Thanks!"},
            {"from": "gpt", "value": "You are welcome."},
        ],
        "tools": json.dumps([GRADES_TOOL]),
    }


def glaive_without_tools() -> dict[str, object]:
    """Rows that only talk have an empty list of tools."""
    talk = [{"from": "human", "value": "What is a tide?"}, {"from": "gpt", "value": "The sea, rising and falling."}]
    return {"conversations": talk, "tools": "[]"}


def alpaca(number: int = 0) -> dict[str, object]:
    """llamafactory/alpaca_gpt4_en and …_zh."""
    return {"instruction": "Name the capital.", "input": f"Country {number}", "output": f"City {number}"}


def oasst(number: int = 0) -> dict[str, object]:
    """oaast_sft_zh.json: as Alpaca, with earlier pairs."""
    return {
        "instruction": "谢谢",
        "input": "",
        "output": f"不用谢 {number}",
        "history": [["请给我一个计划", "首先，看地图。"], ["然后呢？", "然后出发。"]],
    }


def guanaco(number: int = 0) -> dict[str, object]:
    """mlabonne/guanaco-llama2-1k: one text."""
    return {"text": f"<s>[INST] What is {number} plus one? [/INST] It is {number + 1}. </s>"}


def dialogsum(number: int = 0) -> dict[str, object]:
    """neil-code/dialogsum-test."""
    return {
        "id": f"train_{number}",
        "dialogue": "#Person1#: The train is late again.\n#Person2#: Then let's take the bus.",
        "summary": f"Two people take the bus, since the train is late for the {number}th time.",
        "topic": "travel",
    }
