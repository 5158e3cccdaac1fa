"""Assistants of any number of flows, made for measuring: files as a team would write them, and conversations to play.

Every flow collects four slots of its own (text, number, category, bool), refuses some numbers, branches on the answers
and says what it did. Every tenth flow calls a shared one, every seventh has a guard. Domain and flows are split into
files of ten flows each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rasa_ft.llm.client import Completion, Request

_PER_FILE = 10
_CONFIG = """\
recipe: default.v1
assistant_id: synthetic
language: en
pipeline:
  - name: CompactLLMCommandGenerator
    llm:
      model_group: instant
    flow_retrieval:
      active: false
policies:
  - name: FlowPolicy
"""
_ENDPOINTS = """\
model_groups:
  - id: instant
    models:
      - provider: self-hosted
        model: instant
        api_base: http://localhost:1/v1
"""
_SHARED_FLOW = """\
flows:
  check_identity:
    name: checking who you are
    description: Make sure that the customer is who they say they are.
    if: false
    steps:
      - collect: customer_code
        description: the code on the customer's card
"""
_SHARED_DOMAIN = """\
version: "3.1"
slots:
  customer_code:
    type: text
    mappings:
      - type: from_llm
  is_business:
    type: bool
    initial_value: true
    mappings:
      - type: controlled
responses:
  utter_ask_customer_code:
    - text: What is the code on your card?
"""
_FLOW = """\
  service_{n}:
    name: service number {n}
    description: Order, change or ask about service number {n}, which customers know by the name of {word} {n}.
{guard}    steps:
{call}      - collect: place_{n}
        description: where the customer wants service {n}
      - collect: amount_{n}
        description: how many of service {n}
        rejections:
          - if: slots.amount_{n} < 1 or slots.amount_{n} > 100
            utter: utter_bad_amount_{n}
      - collect: grade_{n}
        description: which grade of service {n}
        next:
          - if: slots.grade_{n} is "gold"
            then:
              - action: utter_gold_{n}
                next: check_{n}
          - else: check_{n}
      - id: check_{n}
        collect: confirmed_{n}
        description: whether the customer agrees
        ask_before_filling: true
        next:
          - if: slots.confirmed_{n}
            then:
              - set_slots:
                  - place_{n}: done
              - action: utter_done_{n}
                next: END
          - else:
              - action: utter_not_done_{n}
                next: END
"""
_SLOTS = """\
  place_{n}:
    type: text
    mappings:
      - type: from_llm
  amount_{n}:
    type: float
    min_value: 0
    max_value: 1000
    mappings:
      - type: from_llm
  grade_{n}:
    type: categorical
    values: [bronze, silver, gold]
    mappings:
      - type: from_llm
  confirmed_{n}:
    type: bool
    mappings:
      - type: from_llm
"""
_RESPONSES = """\
  utter_ask_place_{n}:
    - text: Where would you like service {n}?
    - text: "In which place do you need service {n}?"
  utter_ask_amount_{n}:
    - text: How many of service {n} in {{place_{n}}}?
  utter_ask_grade_{n}:
    - text: Which grade of service {n} shall it be?
      buttons:
        - title: Bronze
          payload: /SetSlots(grade_{n}=bronze)
        - title: Gold
          payload: /SetSlots(grade_{n}=gold)
  utter_ask_confirmed_{n}:
    - text: "{{amount_{n}}} of service {n} in {{place_{n}}}, grade {{grade_{n}}}: is that right?"
  utter_bad_amount_{n}:
    - text: "{{amount_{n}}} of service {n} cannot be had."
  utter_gold_{n}:
    - text: Gold is our best.
      condition:
        - type: slot
          name: is_business
          value: true
    - text: Gold it is.
  utter_done_{n}:
    - text: Service {n} is on its way.
  utter_not_done_{n}:
    - text: Nothing was ordered.
"""
_WORDS = ("Amber", "Birch", "Cedar", "Daisy", "Elder", "Fern", "Gorse", "Hazel", "Iris", "Juniper")


def write_assistant(folder: Path, flows: int) -> None:
    """An assistant of ``flows`` flows, the shared one not counted, in the empty folder ``folder``."""
    (folder / "config.yml").write_text(_CONFIG)
    (folder / "endpoints.yml").write_text(_ENDPOINTS)
    for name in ("domain", "data"):
        (folder / name).mkdir()
    (folder / "domain" / "shared.yml").write_text(_SHARED_DOMAIN)
    (folder / "data" / "shared.yml").write_text(_SHARED_FLOW)
    for first in range(0, flows, _PER_FILE):
        numbers = range(first, min(first + _PER_FILE, flows))
        (folder / "data" / f"flows_{first:04d}.yml").write_text("flows:\n" + "\n".join(map(_flow, numbers)))
        domain = ["slots:\n", *(_SLOTS.format(n=n) for n in numbers)]
        domain += ["responses:\n", *(_RESPONSES.format(n=n) for n in numbers)]
        (folder / "domain" / f"part_{first:04d}.yml").write_text("".join(domain))


def _flow(number: int) -> str:
    return _FLOW.format(
        n=number,
        word=_WORDS[number % len(_WORDS)],
        guard="    if: slots.is_business\n" if number % 7 == 3 else "",
        call="      - call: check_identity\n" if number % 10 == 9 else "",
    )


@dataclass(frozen=True)
class Line:
    """What the user says, and what the model answers."""

    text: str
    answer: str


def conversation(number: int, other: int) -> tuple[Line, ...]:
    """Ten turns about service ``number``, one that calls no other flow.

    A clarification, the start with a slot filled ahead, a refused value and a better one, a correction, a digression
    to service ``other`` that is cancelled, the return, the last two answers.
    """
    back = "continue_interrupted_flow_confirmation"
    return (
        Line(f"about service {number} or {other}", f"disambiguate flows service_{number} service_{other}"),
        Line(f"i need service {number} in leeds", f"start flow service_{number}\nset slot place_{number} Leeds"),
        Line(f"500 of {number} please", f"set slot amount_{number} 500"),
        Line(f"then make it 5 of {number}", f"set slot amount_{number} 5"),
        Line(f"sorry, i meant {number} in york", f"set slot place_{number} York"),
        Line(f"what about service {other}?", f"start flow service_{other}"),
        Line("never mind that", "cancel flow"),
        Line("yes, go on with what we had", f"set slot {back} True"),
        Line(f"gold for {number}", f"set slot grade_{number} gold"),
        Line(f"yes, {number} is right", f"set slot confirmed_{number} True"),
    )


class InstantLLM:
    """Answers the lines of conversations at once."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}

    def learn(self, lines: tuple[Line, ...]) -> None:
        """Answer these lines from now on."""
        self.answers.update((line.text, line.answer) for line in lines)

    async def complete(self, request: Request) -> Completion:
        return Completion(text=self.answers[request.hints["user_message"]], model="instant", latency=0.0)
