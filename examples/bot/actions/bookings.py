"""Whatever can be done with an existing booking."""

from __future__ import annotations

from typing import Any

from rasa_sdk import Action, Tracker
from rasa_sdk.events import SlotSet
from rasa_sdk.executor import CollectingDispatcher

from . import backend

Events = list[dict[str, Any]]


def _code(tracker: Tracker) -> str:
    return str(tracker.get_slot("booking_code") or "")


class LookupBooking(Action):
    def name(self) -> str:
        return "action_lookup_booking"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: dict[str, Any]) -> Events:
        code = _code(tracker)
        found = backend.is_booking(code)
        return [SlotSet("booking_found", found), SlotSet("booking_route", backend.route_of(code) if found else None)]


class ChangeBooking(Action):
    def name(self) -> str:
        return "action_change_booking"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: dict[str, Any]) -> Events:
        return []  # a real one would tell the booking system


class CancelBooking(Action):
    def name(self) -> str:
        return "action_cancel_booking"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: dict[str, Any]) -> Events:
        return [SlotSet("refund", backend.in_pounds(backend.price_of(_code(tracker))))]


class ComputeRefund(Action):
    """Half the price back, and all of it from an hour's delay on."""

    def name(self) -> str:
        return "action_compute_refund"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: dict[str, Any]) -> Events:
        share = 1.0 if float(tracker.get_slot("delay_minutes") or 0) >= 60 else 0.5
        return [SlotSet("refund", backend.in_pounds(share * backend.price_of(_code(tracker))))]


class ReserveBikes(Action):
    def name(self) -> str:
        return "action_reserve_bikes"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: dict[str, Any]) -> Events:
        return []  # a real one would tell the booking system


class BookAssistance(Action):
    def name(self) -> str:
        return "action_book_assistance"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: dict[str, Any]) -> Events:
        return [SlotSet("reference", backend.reference("AS", _code(tracker) + str(tracker.get_slot("station"))))]
