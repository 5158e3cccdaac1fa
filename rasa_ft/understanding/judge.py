"""The judges of end-to-end tests: language models and embeddings that conftest files name, or the default ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rasa_ft.calm.checks.findings import Finding
from rasa_ft.e2e.judging import Judge, Judgement, RelevantAssertion
from rasa_ft.e2e.model import JudgeSettings, Suite, TestCase
from rasa_ft.errors import DataError, LLMError, Location
from rasa_ft.llm.client import LLM, Completion, Request, aclose
from rasa_ft.llm.config import JUDGE_DEFAULTS, RECORDED, ModelGroup, load_model_groups, resolve_group
from rasa_ft.llm.embeddings import Choice, Embedder, choose_embedder
from rasa_ft.llm.groups import build_llm
from rasa_ft.llm.store import Store, StoredLLM
from rasa_ft.llm.vectors import VectorStore, default_store
from rasa_ft.understanding import judgements as j

_READERS: Mapping[str, Callable[[str], object]] = {
    "judge_relevance": j.questions_in,
    "judge_groundedness": j.statements_in,
}


@dataclass(frozen=True)
class ModelJudge:
    """Asks ``llm``; see `rasa_ft.e2e.judging.Judge`. ``embedder`` None: there is none, for the reason that is given."""

    llm: LLM
    embedder: Embedder | None
    no_embedder: str = "there are no embeddings"

    async def relevance(self, message: str, user_message: str) -> Judgement:
        if self.embedder is None:
            raise LLMError(f"the judge has nothing to compare meanings with: {self.no_embedder}.")
        questions = j.questions_in(await self._ask("judge_relevance", j.relevance_prompt(message)))
        asked, *vectors = await self.embedder.embed([user_message, *questions])
        return j.relevance(asked, list(zip(questions, vectors, strict=True)))

    async def groundedness(self, message: str, ground_truth: str) -> Judgement:
        prompt = j.groundedness_prompt(message, ground_truth)
        return j.groundedness(j.statements_in(await self._ask("judge_groundedness", prompt)))

    async def aclose(self) -> None:
        await aclose(self.llm)
        await aclose(self.embedder)

    async def _ask(self, purpose: str, prompt: str) -> str:
        return (await self.llm.complete(Request.of_prompt(prompt, purpose=purpose))).text


@dataclass(frozen=True)
class Insisting:
    """A judge's model that is asked once more if its answer is unusable: what it gives can be read and may be kept."""

    inner: LLM

    async def complete(self, request: Request) -> Completion:
        """As `rasa_ft.llm.client.LLM.complete`.

        Raises:
            LLMError: the second answer is unusable too.
        """
        first = await self.inner.complete(request)
        reason = _fault(request, first)
        if reason is None:
            return first
        (message,) = request.messages
        again = replace(request, messages=({**message, "content": j.insisting(message["content"], reason)},))
        second = await self.inner.complete(again)
        reason = _fault(request, second)
        if reason is not None:
            raise LLMError(f"the judge's answer is unusable, twice: {reason}.", hint="Name a stronger model as judge.")
        return second

    async def aclose(self) -> None:
        await aclose(self.inner)


def _fault(request: Request, answer: Completion) -> str | None:
    try:
        _READERS[request.hints["purpose"]](answer.text)
    except j.UnusableAnswer as error:
        return str(error)
    return None


@dataclass(frozen=True)
class Judges:
    """The judge of each case of a suite. ``warnings`` tell where it is not what the configuration asks for."""

    by_place: Mapping[Location | None, ModelJudge] = field(default_factory=dict)
    warnings: tuple[Finding, ...] = ()

    def __call__(self, case: TestCase) -> Judge:
        return self.by_place[_place(case.judge)]

    async def aclose(self) -> None:
        """Close connections, in the event loop in which they were used."""
        for judge in self.by_place.values():
            await judge.aclose()


def load_judges(
    suite: Suite,
    *,
    project: Path,
    endpoints: Path | None = None,
    answers: Store | None = None,
    vectors: VectorStore | None = None,
) -> Judges:
    """Judges for the cases of ``suite`` that need one; nothing is connected or loaded yet.

    Args:
        endpoints: the file with the assistant's model groups; default: the project's endpoints.yml.
        answers: where usable answers are kept and looked up.
        vectors: where vectors are kept; default: the user's own store.

    Raises:
        DataError: an entry of `llm_judge` is broken, or names an unknown model group.
    """
    cases = [case for case in suite.cases if case.judged_assertions]
    maker = _Maker(project, load_model_groups(endpoints or project / "endpoints.yml"), answers, vectors)
    judges: dict[Location | None, ModelJudge] = {}
    warnings: list[Finding] = []
    for place, settings in {_place(case.judge): case.judge for case in cases}.items():
        own = [case for case in cases if _place(case.judge) == place]
        judges[place], found = maker.judge(settings, embeds=any(map(_embeds, own)))
        warnings.extend(found)
    return Judges(judges, tuple(warnings))


def _place(settings: JudgeSettings | None) -> Location | None:
    return settings.location if settings else None


def _embeds(case: TestCase) -> bool:
    return any(isinstance(assertion, RelevantAssertion) for assertion in case.judged_assertions)


@dataclass(frozen=True)
class _Maker:
    """Makes judges from the configuration."""

    project: Path
    groups: Mapping[str, ModelGroup]
    answers: Store | None
    vectors: VectorStore | None

    def judge(self, settings: JudgeSettings | None, *, embeds: bool) -> tuple[ModelJudge, list[Finding]]:
        place = _place(settings)
        warnings = []
        if (settings is None or settings.llm is None) and "OPENAI_API_KEY" not in os.environ:
            message = "no `llm_judge` names a model, and there is no OPENAI_API_KEY for the default one."
            hint = "Cases with judged assertions end in an error. Write `llm_judge: {llm: …}` into conftest.yml."
            warnings.append(_warning(message, hint, place))
        choice = self._embedder(settings.embeddings if settings else None) if embeds else Choice(None)
        if choice.warning:
            warnings.append(_warning(f"judge: {choice.warning}.", choice.hint, place))
        llm = self._llm(settings.llm if settings else None)
        return ModelJudge(llm, choice.embedder, choice.warning or ModelJudge.no_embedder), warnings

    def _embedder(self, written: Mapping[str, Any] | None) -> Choice:
        vectors = self.vectors or default_store()
        return choose_embedder(written, self.groups, project=self.project, store=vectors)

    def _llm(self, written: Mapping[str, Any] | None) -> LLM:
        group = resolve_group(written, self.groups, defaults=JUDGE_DEFAULTS)
        for model in group.models:
            if model.provider == RECORDED:
                raise DataError(
                    f"provider '{RECORDED}' judges nothing.",
                    location=model.location,
                    hint="Name a model in `llm_judge` that can read an answer.",
                )
        llm = Insisting(build_llm(group, project=self.project))
        return llm if self.answers is None else StoredLLM(llm, self.answers, group.identity)


def _warning(message: str, hint: str | None, place: Location | None) -> Finding:
    return Finding("warning", message, place, hint, rule="judge")
