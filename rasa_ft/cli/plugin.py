"""``rasa-ft plugin enable | disable | status``."""

from __future__ import annotations

import click

from rasa_ft import plugin


@click.command()
def enable() -> None:
    """Put a `rasa` command beside `rasa-ft`, so that `rasa …` runs the same tree. `disable` undoes it exactly."""
    click.echo(f"Enabled: {plugin.enable()}")


@click.command()
def disable() -> None:
    """Take the `rasa` command away again."""
    click.echo("Disabled." if plugin.disable() else "It was not enabled.")


@click.command()
def status() -> None:
    """Say whether plain `rasa …` works here."""
    click.echo(f"enabled: {plugin.script_path()}" if plugin.is_enabled() else "not enabled")
