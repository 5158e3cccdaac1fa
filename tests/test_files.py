"""Files are written completely or not at all."""

import errno
import json
import os
from pathlib import Path

import pytest

from rasa_ft import files
from rasa_ft.errors import RasaFtError


def test_write_text_makes_folders_and_replaces(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.txt"
    files.write_text(target, "one")
    files.write_text(target, "zwei ü")
    assert target.read_text(encoding="utf-8") == "zwei ü"
    assert [path.name for path in target.parent.iterdir()] == ["b.txt"]


def test_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "data.json"
    files.write_json(target, {"old": True})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(RasaFtError, match="no space left on device"):
        files.write_json(target, {"new": True})
    assert json.loads(target.read_text()) == {"old": True}
    assert [path.name for path in tmp_path.iterdir()] == ["data.json"]


def test_unwritable_folder_is_one_sentence(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(RasaFtError, match="cannot write"):
        files.write_text(blocker / "x.txt", "x")


def test_write_jsonl_keeps_non_ascii(tmp_path: Path) -> None:
    files.write_jsonl(tmp_path / "rows.jsonl", [{"text": "Zürich"}, {"text": "b"}])
    assert (tmp_path / "rows.jsonl").read_text(encoding="utf-8") == '{"text": "Zürich"}\n{"text": "b"}\n'


def test_fresh_folder_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("first", "second"):
        with files.fresh_folder(out) as draft:
            (draft / name).write_text(name)
    assert [path.name for path in out.iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_fresh_folder_that_fails_changes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with files.fresh_folder(out) as draft:
        (draft / "kept").write_text("")
    with pytest.raises(KeyboardInterrupt), files.fresh_folder(out) as draft:
        (draft / "half").write_text("")
        raise KeyboardInterrupt
    assert [path.name for path in out.iterdir()] == ["kept"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_fingerprint_tells_parts_and_folders_apart(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    before = files.fingerprint(tmp_path)
    assert files.fingerprint("ab", "c") != files.fingerprint("a", "bc")
    assert files.fingerprint({"a": 1, "b": 2}) == files.fingerprint({"b": 2, "a": 1})
    assert files.fingerprint(tmp_path / "a.txt") == files.fingerprint(b"a")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").write_text("")
    assert files.fingerprint(tmp_path) == before
    (tmp_path / "a.txt").write_text("b")
    assert files.fingerprint(tmp_path) != before
