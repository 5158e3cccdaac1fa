from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from word_embedder import WordEmbedder

from rasa_ft.errors import DataError
from rasa_ft.understanding.documents import HITS, Document, DocumentIndex, load_documents, sources

FAQ = """\
Opening hours and such

Q: Are you open on
Sundays?
A: No.
We rest.

Q: unanswered
Q:
A: nobody asked
Q : May I bring my dog?
A: Yes, if it is small. Q: and A: inside a line are text.
"""


def files(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = folder / "docs" / f"{name.replace('__', '/')}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "docs"


def test_text_files_in_the_order_of_their_paths(tmp_path: Path) -> None:
    docs = files(tmp_path, b="second", a__deep="\ufefffirst", c=" \n", long="A sentence of words. " * 100)
    (docs / "notes.md").write_text("not read")
    (docs / "folder.txt").mkdir()
    documents = load_documents(docs, tmp_path)
    assert documents[:2] == [
        Document("first", {"source": "docs/a/deep.txt"}),
        Document("second", {"source": "docs/b.txt"}),
    ]
    assert sources(documents) == ["docs/a/deep.txt", "docs/b.txt", "docs/long.txt"]
    assert len(documents) == 5
    assert load_documents(tmp_path / "nowhere", tmp_path) == []
    assert load_documents(docs, tmp_path / "elsewhere")[0].metadata == {"source": "deep.txt"}


def test_questions_and_answers(tmp_path: Path) -> None:
    docs = files(tmp_path, faq=FAQ, plain="No pairs here.")
    sundays, dog, plain = load_documents(docs, tmp_path, pairs=True)
    assert sundays.text == "Are you open on Sundays?"
    assert sundays.metadata == {
        "source": "docs/faq.txt",
        "type": "faq",
        "title": "Are you open on Sundays?",
        "answer": "No.\nWe rest.",
    }
    assert dog.metadata["answer"] == "Yes, if it is small. Q: and A: inside a line are text."
    assert plain == Document("No pairs here.", {"source": "docs/plain.txt"})


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (files(tmp_path, a="x") / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"b\.txt is not UTF-8 text"):
        load_documents(tmp_path / "docs", tmp_path)


def test_the_nearest_pieces(tmp_path: Path) -> None:
    docs = files(tmp_path, **{f"d{number}": f"word{number} common" for number in range(HITS + 2)})
    embedder = WordEmbedder()
    index = DocumentIndex(docs, tmp_path, embedder)

    async def run() -> None:
        assert await index.prepare() == HITS + 2
        hits = await index.search("word3 word3 common")
        assert [hit.text for hit in hits] == ["word3 common", "word0 common", "word1 common", "word2 common"]
        assert [hit.text for hit in await index.search("word3 word3 common", 0.6)] == ["word3 common"]
        assert await index.search("nothing like it", 0.1) == []
        assert await index.search(" ") == []
        await index.aclose()

    asyncio.run(run())
    assert len(embedder.calls[0]) == HITS + 2  # once


def test_no_documents_ask_nobody(tmp_path: Path) -> None:
    embedder = WordEmbedder()
    index = DocumentIndex(tmp_path / "docs", tmp_path, embedder)
    assert asyncio.run(index.search("anything")) == []
    assert embedder.calls == []
