"""Folders in which action servers run: an assistant's files, and data that its authors keep elsewhere.

Databases, passwords and vectors that are not in an assistant's repository are made here from what its own tests ask
for. Nothing is written into the clone.
"""

from __future__ import annotations

import csv
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zlib import crc32

from rasa_ft.yaml_source import dump_yaml, load_yaml, plain


def workspace(name: str | None, source: Path, folder: Path) -> Path:
    """The folder to start the action server in: the assistant's own, or one below ``folder`` with links to it."""
    if name is None:
        return source
    run = folder / "run"
    run.mkdir()
    for entry in source.iterdir():
        (run / entry.name).symlink_to(entry)
    _FILLED[name](source, run)
    return run


# -- a travel agency ------------------------------------------------------------------------------------------------

_TRAVEL = {
    "tickets": [{"ticket_no": "1", "book_ref": "1", "passenger_id": "3442 587242"}],
    "ticket_flights": [{"ticket_no": "1", "flight_id": 1, "fare_conditions": "Economy"}],
    "boarding_passes": [{"ticket_no": "1", "flight_id": 1, "seat_no": "1A"}],
    "flights": [
        {
            "flight_id": number,
            "flight_no": f"FT{number}",
            "departure_airport": "CDG",
            "arrival_airport": "BSL",
            "scheduled_departure": departure,
            "scheduled_arrival": departure,
        }
        for number, departure in enumerate(
            ("2024-04-30T12:09:00-04:00", "2024-05-01T12:09:00-04:00", "2024-05-02T12:09:00-04:00"), start=1
        )
    ],
    "hotels": [
        {"name": "Hilton Basel", "location": "Basel", "price_tier": "Luxury"},
        {"name": "Alpha Basel", "location": "Basel", "price_tier": "Midscale"},
    ],
    "car_rentals": [
        {"name": "Europcar", "location": "Basel", "price_tier": "Economy"},
        {"name": "Avis", "location": "Basel", "price_tier": "Luxury"},
    ],
    "trip_recommendations": [
        {"name": name, "location": "Basel", "keywords": ""}
        for name in ("Basel Minster", "Kunstmuseum Basel", "Basel Zoo")
    ],
}


def _travel(source: Path, run: Path) -> None:
    """The database lies beside the assistant's folder."""
    (run.parent / "pytz.py").symlink_to(Path(__file__).parent / "travel" / "pytz.py")
    connection = sqlite3.connect(run.parent / "travel2.sqlite")
    for table, rows in _TRAVEL.items():
        columns = list(rows[0])
        connection.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
        marks = ", ".join("?" * len(columns))
        insert = f"INSERT INTO {table} VALUES ({marks})"  # noqa: S608 - a table named above
        connection.executemany(insert, [tuple(row.values()) for row in rows])
    connection.commit()
    connection.close()


# -- an adviser on motorcycles --------------------------------------------------------------------------------------


def _motorcycles(source: Path, run: Path) -> None:
    """The models that the tests ask for, and vectors of the questions that have answers."""
    (run / "store").unlink()
    store = run / "store"
    store.mkdir()
    makes = _makes_and_models(source)
    with (store / "moto-db-2025-03.tsv").open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t")
        writer.writerow(["str_page_url", "str_image_url", "str_make", "str_model", "int_year"])
        for make, models in makes.items():
            # Its search for a make looks at models with the same first letter.
            writer.writerows(["page", "image", make, model, 2025] for model in dict.fromkeys([*models, make]))
    faq = plain(load_yaml(source / "store" / "faq.yml"))
    for entry in faq["faq"]:
        entry["question_vectors"] = embedding(entry["question"])
    (store / "faq_vectorized.yml").write_text(dump_yaml(faq))


def _makes_and_models(source: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in sorted((source / "tests").glob("e2e*/specs__make*.yml")):
        for case in plain(load_yaml(file))["test_cases"]:
            named = [
                slot["value"]
                for step in case["steps"]
                for assertion in step["assertions"]
                for slot in assertion.get("slot_was_set", ())
                if slot["name"] in ("user_search_specs_make", "user_search_specs_model")
            ]
            found.setdefault(named[0], []).extend(named[1:])
    return found


_FILLED: Mapping[str, Callable[[Path, Path], None]] = {"travel": _travel, "motorcycles": _motorcycles}


# -- a model API ----------------------------------------------------------------------------------------------------


def embedding(text: str) -> list[float]:
    """A vector with the numbers of the text's words, by a hash of each."""
    vector = [0.0] * 256
    for word in text.lower().split():
        vector[crc32(word.encode()) % len(vector)] += 1.0
    return vector


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        body = json.dumps(_reply(request)).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


def _reply(request: dict[str, Any]) -> dict[str, Any]:
    if "input" in request:
        data = [{"object": "embedding", "index": 0, "embedding": embedding(request["input"])}]
        return {"object": "list", "model": "fake", "data": data, "usage": {"prompt_tokens": 0, "total_tokens": 0}}
    message = {"role": "assistant", "content": "An answer."}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "fake", "choices": [choice]}


@contextmanager
def model_api() -> Iterator[dict[str, str]]:
    """A server that custom actions may ask as if it were a model's, as environment variables."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield {
            "OPENAI_BASE_URL": f"http://127.0.0.1:{server.server_port}/v1",
            "OPENAI_API_KEY": "none",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
    finally:
        server.shutdown()
        server.server_close()
