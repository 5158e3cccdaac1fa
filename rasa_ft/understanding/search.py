"""Answers from documents: what ``EnterpriseSearchPolicy`` does after `action_trigger_search`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rasa_ft.calm.dialogue.runtime import Runtime, SearchFailed
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.events import BotUttered, UserUttered
from rasa_ft.calm.project.assistant import builtin_domain
from rasa_ft.calm.project.document_search import DocumentSearch
from rasa_ft.errors import LLMError, RasaFtError
from rasa_ft.llm.client import LLM, Request, aclose
from rasa_ft.understanding.documents import Document, DocumentIndex, sources
from rasa_ft.understanding.rendering import HISTORY_LINES, PROMPTS, history, one_line, render_prompt, shown_time

SEARCH_PROMPT = PROMPTS / "search.jinja2"
# What a model says instead of an answer when the documents do not hold one.
NO_ANSWER = "[NO_RAG_ANSWER]"
_CITATION = re.compile(r"\[(\d+(?:\s*,\s*\d+)*)\]")
_OWN_SOURCES = re.compile(r"^\W*sources?\b", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class DocumentAnswers:
    """Searches ``index`` and lets ``llm`` answer, or says a written answer; see `calm.dialogue.runtime.Search`."""

    settings: DocumentSearch
    index: DocumentIndex
    llm: LLM | None
    clock: Callable[[ZoneInfo], datetime] = datetime.now

    @property
    def template(self) -> Path:
        return self.settings.prompt_template or SEARCH_PROMPT

    async def answer(self, tracker: Tracker, runtime: Runtime) -> BotUttered | None:
        """See `rasa_ft.calm.dialogue.runtime.Search.answer`."""
        query = search_query(tracker, self.settings.max_messages_in_query)
        try:
            documents = await self.index.search(query, self.settings.threshold)
            text = await self._text(documents, tracker, runtime) if documents else None
        except RasaFtError as error:
            raise SearchFailed(str(error)) from error
        if text is None:
            return None
        metadata = {
            "search_query": query,
            "search_results": [_content(document) for document in documents],
            "search_sources": sources(documents),
        }
        return BotUttered(text, source="search", metadata=metadata)

    async def aclose(self) -> None:
        await self.index.aclose()
        await aclose(self.llm)

    async def _text(self, documents: Sequence[Document], tracker: Tracker, runtime: Runtime) -> str | None:
        if self.llm is None:
            answer = documents[0].metadata.get("answer")
            return None if answer is None else str(answer)
        prompt = render_prompt(self.template, self._variables(documents, tracker, runtime))
        user = tracker.latest_user
        request = Request.of_prompt(prompt, purpose="search", user_message=user.text if user else "")
        text = (await self.llm.complete(request)).text.strip()
        if self.settings.check_relevancy and NO_ANSWER in text:
            return None
        if not text:
            raise LLMError("the model that answers from documents said nothing.")
        return with_sources(text, documents) if self.settings.citations else text

    def _variables(self, documents: Sequence[Document], tracker: Tracker, runtime: Runtime) -> Mapping[str, Any]:
        settings = self.settings
        lines = HISTORY_LINES if settings.max_history is None else settings.max_history
        variables: dict[str, Any] = {
            "current_conversation": "\n".join(history(tracker, lines)),
            "docs": [{"text": document.text, "metadata": dict(document.metadata)} for document in documents],
            "slots": _slots(tracker, runtime),
            "check_relevancy": settings.check_relevancy,
            "citation_enabled": settings.citations,
        }
        if settings.include_date_time:
            variables["current_datetime"] = shown_time(tracker, self.clock(ZoneInfo(settings.timezone)))
        return variables


def _content(document: Document) -> str:
    """What a document says; of a question and its answer, both."""
    answer = document.metadata.get("answer")
    return document.text if answer is None else f"{document.text}\n{answer}"


def search_query(tracker: Tracker, messages: int) -> str:
    """The last ``messages`` messages of the session, of user and bot, in one line."""
    events = (event for event in tracker.session_events if isinstance(event, UserUttered | BotUttered))
    texts = [one_line(event.text) for event in events if event.text]
    return " ".join(texts[-messages:])


def _slots(tracker: Tracker, runtime: Runtime) -> list[dict[str, Any]]:
    """What the assistant knows: its own slots that hold a value, and the language."""
    hidden = builtin_domain().slots
    return [
        {"name": slot.name, "value": str(tracker.slots[slot.name]), "type": slot.type}
        for slot in runtime.domain.slots.values()
        if tracker.slots.get(slot.name) is not None
        and (slot.name == "language" or not (slot.builtin or slot.name in hidden))
    ]


def with_sources(answer: str, documents: Sequence[Document]) -> str:
    """``answer`` with its citations (``[2]``, the number of a document) counted from 1 and their files listed below.

    Numbers of no document are taken out. An answer that lists its sources itself stays as it is.
    """
    if _OWN_SOURCES.search(answer):
        return answer
    numbers: dict[str, int] = {}

    def renumbered(match: re.Match[str]) -> str:
        cited = (int(number) for number in match[1].split(","))
        files = [str(documents[number - 1].metadata["source"]) for number in cited if 0 < number <= len(documents)]
        shown = dict.fromkeys(numbers.setdefault(file, len(numbers) + 1) for file in files)
        return "".join(f"[{number}]" for number in shown)

    text = _CITATION.sub(renumbered, answer)
    if not numbers:
        return text
    listing = "\n".join(f"[{number}] {file}" for file, number in numbers.items())
    return f"{text}\n\nSources:\n{listing}"
