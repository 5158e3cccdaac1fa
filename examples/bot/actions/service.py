"""Train status, lost property, complaints and calls."""

from __future__ import annotations

from typing import Any

from rasa_sdk import Action, Tracker
from rasa_sdk.events import SlotSet
from rasa_sdk.executor import CollectingDispatcher

from . import backend

Events = list[dict[str, Any]]


class CheckStatus(Action):
    def name(self) -> str:
        return "action_check_status"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: dict[str, Any]) -> Events:
        return [SlotSet("train_late", backend.is_late(str(tracker.get_slot("train_number"))))]


class LogLostItem(Action):
    def name(self) -> str:
        return "action_log_lost_item"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: dict[str, Any]) -> Events:
        return [SlotSet("reference", backend.reference("LP", str(tracker.get_slot("lost_item"))))]


class LogComplaint(Action):
    def name(self) -> str:
        return "action_log_complaint"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: dict[str, Any]) -> Events:
        case = f"{tracker.get_slot('topic')} {tracker.get_slot('email')}"
        return [SlotSet("reference", backend.reference("CO", case))]


class ScheduleCall(Action):
    def name(self) -> str:
        return "action_schedule_call"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: dict[str, Any]) -> Events:
        return [SlotSet("reference", backend.reference("CB", str(tracker.get_slot("phone"))))]
