"""``rasa train``: checks the assistant and packs it into a model archive."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rasa_ft.cli.terminal import visible

if TYPE_CHECKING:
    from rasa_ft.engine.embedded import EmbeddedEngine
    from rasa_ft.engine.packing import Packed
    from rasa_ft.understanding.knowledge import Prepared

_PATH = click.Path(path_type=Path)
_OUT = "models"


@click.command()
@click.option("-c", "--config", type=_PATH, help="Configuration file.  [default: config.yml in the project]")
@click.option("-d", "--domain", type=_PATH, help="Domain file or folder.  [default: domain.yml or domain there]")
@click.option("--data", type=_PATH, help="Folder of flow files.  [default: data there]")
@click.option("--endpoints", type=_PATH, help="Endpoints file.  [default: endpoints.yml there]")
@click.option(
    "--project",
    type=click.Path(path_type=Path, file_okay=False),
    help="The assistant's folder.  [default: the nearest one with a config.yml]",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Default: models in the project.")
@click.option("--fixed-model-name", metavar="NAME", help="Name of the archive.  [default: time and two words]")
@click.option("--skip-validation", is_flag=True, help="Go on where only the validator objects.")
@click.option("--force", is_flag=True, help="Write an archive although nothing has changed.")
def train(
    config: Path | None,
    domain: Path | None,
    data: Path | None,
    endpoints: Path | None,
    project: Path | None,
    out: Path | None,
    fixed_model_name: str | None,
    skip_validation: bool,
    force: bool,
) -> None:
    """Check that the assistant can run and pack it into an archive.

    The archive holds what is needed to run the assistant elsewhere: its files, prompts, documents and in-process
    actions, but no secrets. Its path goes to stdout; where nothing has changed, that of the newest one. Every command
    takes it with -m. It holds code: run only archives that you trust.
    """
    from rasa_ft.cli.project import find_project
    from rasa_ft.engine.embedded import load_engine
    from rasa_ft.engine.health import check_models_if_wanted
    from rasa_ft.engine.packing import pack
    from rasa_ft.errors import UsageError

    if fixed_model_name is not None and Path(fixed_model_name).name != fixed_model_name:
        raise UsageError("--fixed-model-name is a name, not a path.", hint="The folder is given with --out.")
    # A configuration in a folder of its own (config/config.yml) does not make that folder the project.
    folder = Path() if project is None and config is not None else find_project(".", project)
    engine = load_engine(
        folder, config=config, domain=domain, data=data, endpoints=endpoints, validate=not skip_validation
    )
    check_models_if_wanted(engine.assistant)
    for finding in engine.assistant.warnings:
        click.echo(f"Warning: {visible(finding)}", err=True)
    prepared = asyncio.run(_index(engine))
    if prepared.flows or prepared.documents:
        click.echo(f"Embedded: {prepared.flows} flows, {prepared.documents} pieces of documents.", err=True)
    packed = pack(engine.assistant, out or folder / _OUT, name=fixed_model_name, force=force)
    name = packed.manifest.assistant_id or folder.resolve().name
    click.echo(
        f"{name}: {len(engine.assistant.user_flows)} flows, "
        f"{len(engine.assistant.domain.custom_actions)} custom actions; its actions and its model can be used.",
        err=True,
    )
    _tell(packed)
    click.echo(packed.path)


async def _index(engine: EmbeddedEngine) -> Prepared:
    """Embed flows and documents, which shows that it can be done; the vectors go into the user's own store."""
    from rasa_ft.understanding.knowledge import prepare_index

    try:
        return await prepare_index(engine.knowledge)
    finally:
        await engine.aclose()


def _tell(packed: Packed) -> None:
    for file in packed.left_out:
        click.echo(f"Left out, since it may hold a secret or lies elsewhere: {file}", err=True)
    if packed.unchanged:
        click.echo("Nothing has changed since this archive was made; --force makes another.", err=True)
    else:
        click.echo(f"Packed {len(packed.manifest.files)} files. Nothing had to be trained.", err=True)
        click.echo("For a command model of your own:  rasa llm finetune run", err=True)
