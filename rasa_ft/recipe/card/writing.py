"""The data card's files."""

from __future__ import annotations

from pathlib import Path

from rasa_ft.files import write_text
from rasa_ft.recipe.card.figures import Material
from rasa_ft.recipe.card.page import render_html, render_markdown

PAGE = "data_card.html"
TEXT = "data_card.md"


def write_card(out: Path, material: Material) -> None:
    """The card for people and for repositories; the same data give the same bytes."""
    write_text(out / PAGE, render_html(material))
    write_text(out / TEXT, render_markdown(material))
