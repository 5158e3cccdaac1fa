"""Selling tickets, group tickets and railcards."""

from __future__ import annotations

from typing import Any

from rasa_sdk import Action, Tracker
from rasa_sdk.events import SlotSet
from rasa_sdk.executor import CollectingDispatcher

from . import backend

Events = list[dict[str, Any]]


class FindTrains(Action):
    def name(self) -> str:
        return "action_find_trains"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: dict[str, Any]) -> Events:
        return [SlotSet("trains", backend.DEPARTURES)]


class AskDeparture(Action):
    """Asks for the slot `departure`, with a button for every train that was found."""

    def name(self) -> str:
        return "action_ask_departure"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: dict[str, Any]) -> Events:
        buttons = [
            {"title": time, "payload": f"/SetSlots(departure={time})"} for time in tracker.get_slot("trains") or []
        ]
        dispatcher.utter_message(response="utter_pick_departure", buttons=buttons)
        return []


class ValidateDeparture(Action):
    """Refuses a departure that was not offered."""

    def name(self) -> str:
        return "validate_departure"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: dict[str, Any]) -> Events:
        departure = tracker.get_slot("departure")
        if departure is None or departure in (tracker.get_slot("trains") or []):
            return []
        dispatcher.utter_message(response="utter_departure_not_offered")
        return [SlotSet("departure", None)]


class QuoteFare(Action):
    def name(self) -> str:
        return "action_quote_fare"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: dict[str, Any]) -> Events:
        full = backend.fare_pounds(tracker.get_slot("origin") or "", tracker.get_slot("destination") or "")
        pays = full * 2 / 3 if tracker.get_slot("railcard") else full
        return [SlotSet("fare", backend.in_pounds(pays))]


class BookTicket(Action):
    def name(self) -> str:
        return "action_book_ticket"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: dict[str, Any]) -> Events:
        journey = " ".join(
            str(tracker.get_slot(slot)) for slot in ("origin", "destination", "travel_date", "departure")
        )
        code = backend.reference("NR", journey).replace("-", "")
        return [SlotSet("ticket", {"code": code, "fare": tracker.get_slot("fare")})]


class QuoteGroup(Action):
    """Groups pay 18 pounds a head, wherever they go."""

    def name(self) -> str:
        return "action_quote_group"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: dict[str, Any]) -> Events:
        return [SlotSet("fare", backend.in_pounds(18 * float(tracker.get_slot("group_size") or 0)))]


class IssueRailcard(Action):
    def name(self) -> str:
        return "action_issue_railcard"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: dict[str, Any]) -> Events:
        return [SlotSet("reference", backend.reference("RC", str(tracker.get_slot("full_name"))))]
