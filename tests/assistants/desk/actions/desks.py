"""Custom actions of the test assistant."""

from rasa_sdk import Action
from rasa_sdk.events import FollowupAction, SlotSet
from rasa_sdk.interfaces import ActionExecutionRejection


class FindDesk(Action):
    def name(self):
        return "action_find_desk"

    async def run(self, dispatcher, tracker, domain):
        from actions.rooms import is_open  # found at run time too

        return [SlotSet("desk_found", is_open(tracker.get_slot("day"))), SlotSet("no_such_slot", 1)]


class Break(Action):
    def name(self):
        return "action_break"

    def run(self, dispatcher, tracker, domain):
        raise KeyError("boom")


class Refuse(Action):
    def name(self):
        return "action_refuse"

    def run(self, dispatcher, tracker, domain):
        raise ActionExecutionRejection("action_refuse")


class Followed(Action):
    def name(self):
        return "action_followed"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text="followed", buttons=[{"title": "A", "payload": "/thanks"}])


class CountMessages(Action):
    def name(self):
        return "action_count_messages"

    def run(self, dispatcher, tracker, domain):
        return [SlotSet("messages_seen", tracker.get_slot("messages_seen") + 1)]


class ValidateTopic(Action):
    """Refuses one topic; asks for another action to run for a second one."""

    def name(self):
        return "validate_topic"

    def run(self, dispatcher, tracker, domain):
        topic = tracker.get_slot("topic")
        if topic == "nothing":
            dispatcher.utter_message(response="utter_topic_refused", buttons=[{"title": "Desks", "payload": "desks"}])
            return [SlotSet("topic", None)]
        return [FollowupAction("action_followed")] if topic == "more" else []
