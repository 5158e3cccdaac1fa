"""A folder of text files as something to search: read, cut into pieces, embedded once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rasa_ft.errors import DataError
from rasa_ft.llm.client import aclose
from rasa_ft.llm.embeddings import Embedder
from rasa_ft.understanding.chunks import split_text
from rasa_ft.understanding.vectors import Once, VectorIndex

# How many pieces are shown to the model that answers.
HITS = 4
_QUESTION = re.compile(r"^Q\s*:\s*", re.MULTILINE)
_ANSWER = re.compile(r"^A\s*:\s*", re.MULTILINE)


@dataclass(frozen=True)
class Document:
    """A piece of a file; metadata: ``source``, its path in the project, and of a question also its ``answer``."""

    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


def load_documents(source: Path, project: Path, *, pairs: bool = False) -> list[Document]:
    """The pieces of all ``*.txt`` below ``source``, in the order of their paths.

    With ``pairs`` a file of questions and answers (lines that begin with ``Q:`` and ``A:``) gives one document for each
    question, with the answer in its metadata; a file without any is cut as usual.

    Raises:
        DataError: a file cannot be read.
    """
    files = sorted(file for file in source.rglob("*.txt") if file.is_file()) if source.is_dir() else []
    return [document for file in files for document in _documents(file, project, pairs)]


def _documents(file: Path, project: Path, pairs: bool) -> list[Document]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{file} is not UTF-8 text.") from None
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}.") from None
    source = file.relative_to(project).as_posix() if file.is_relative_to(project) else file.name
    found = list(_pairs(text, source)) if pairs else []
    return found or [Document(piece, {"source": source}) for piece in split_text(text)]


def _pairs(text: str, source: str) -> Iterator[Document]:
    for part in _QUESTION.split(text)[1:]:
        question, *answers = _ANSWER.split(part, maxsplit=1)
        if question.strip() and answers and answers[0].strip():
            metadata = {"source": source, "type": "faq", "title": _line(question), "answer": answers[0].strip()}
            yield Document(_line(question), metadata)


def _line(text: str) -> str:
    return " ".join(text.split())


class DocumentIndex:
    """Documents to search by meaning; they are read and embedded at the first search."""

    def __init__(self, source: Path, project: Path, embedder: Embedder, *, pairs: bool = False) -> None:
        self._source = source
        self._project = project
        self._embedder = embedder
        self._pairs = pairs
        self._index = Once(self._embedded)

    async def prepare(self) -> int:
        """Read and embed the documents now; how many pieces there are.

        Raises:
            DataError, LLMError: a file cannot be read, or the embedding model failed.
        """
        documents, _ = await self._index.get()
        return len(documents)

    async def search(self, query: str, threshold: float = 0.0) -> list[Document]:
        """The pieces that are nearest to ``query`` and at least as similar as ``threshold`` (if it is not 0).

        Raises:
            DataError, LLMError: as `prepare`.
        """
        documents, index = await self._index.get()
        if not documents or not query.strip():
            return []
        (vector,) = await self._embedder.embed([query])
        hits = index.nearest(vector, HITS)
        return [documents[row] for row, score in hits if not threshold or score >= threshold]

    async def aclose(self) -> None:
        await aclose(self._embedder)

    async def _embedded(self) -> tuple[list[Document], VectorIndex]:
        documents = load_documents(self._source, self._project, pairs=self._pairs)
        vectors = await self._embedder.embed([document.text for document in documents]) if documents else []
        return documents, VectorIndex.of(vectors)


def sources(documents: Iterable[Document]) -> list[str]:
    """The files that ``documents`` come from, each once."""
    return list(dict.fromkeys(str(document.metadata["source"]) for document in documents))
