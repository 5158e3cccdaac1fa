"""``rasa llm finetune export``: a tuned model in the form that others load, here or in a store."""

from __future__ import annotations

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)


@click.command("export")
@click.argument("model", type=_PATH, default="finetuned")
@click.option(
    "--format",
    "form",
    type=click.Choice(["adapter", "merged-16bit", "merged-4bit", "gguf"]),
    default="merged-16bit",
    show_default=True,
)
@click.option("-o", "--out", type=_PATH, help="Where it goes.  [default: MODEL-FORMAT]")
@click.option("--max-shard-size", default="2GB", show_default=True, help="Largest file of merged weights.")
@click.option("--base-model", help="Folder or hub name of the 16-bit base model.  [default: the one of the training]")
@click.option("--llama-cpp", type=_PATH, help="A checkout of llama.cpp, whose converter writes GGUF.")
@click.option("--push-to", metavar="TARGET", help="hub:NAMESPACE/NAME, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX.")
@click.option("--public", is_flag=True, help="Anyone may see the hub's repository; otherwise it is private.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def export(
    model: Path,
    form: str,
    out: Path | None,
    max_shard_size: str,
    base_model: str | None,
    llama_cpp: Path | None,
    push_to: str | None,
    public: bool,
    as_json: bool,
) -> None:
    """Write MODEL (default: finetuned) as adapter, whole model or GGUF, with a model card, and push it if asked to.

    MODEL is what `train` wrote, or an adapter's folder. An adapter is only ever merged into 16-bit weights.
    """
    from rasa_ft.errors import UsageError
    from rasa_ft.training.export.push import check_push, parse_target, push
    from rasa_ft.training.export.source import find_source
    from rasa_ft.training.export.write import ExportSettings
    from rasa_ft.training.export.write import export as write

    target = parse_target(push_to) if push_to else None
    if public and target is None:
        raise UsageError("--public says who may see what --push-to uploads, and there is no --push-to.")
    if target is not None:
        check_push(target, form=form, base_model=find_source(model, base_model).base_model, public=public)
    out = out or model.with_name(f"{model.resolve().name}-{form}")
    settings = ExportSettings(form, max_shard_size, llama_cpp, base_model)  # type: ignore[arg-type]
    written = write(model, out, settings)
    result: dict[str, object] = {
        "folder": str(written.folder),
        "format": written.format,
        "files": written.files,
        "bytes": written.size,
    }
    if target is not None:
        result["pushed_to"] = push(out, target, public=public, on_file=_show)
    _print(result, as_json=as_json)
    if form == "gguf":
        click.echo(f"Try it:  cd {out} && ollama create {out.resolve().name} -f Modelfile", err=True)
    elif form != "adapter":
        click.echo(f"Serve it:  rasa llm finetune serve {out}", err=True)


def _show(name: str, size: int) -> None:
    click.echo(f"  uploading {name} ({size / 1e6:.1f} MB)", err=True)


def _print(values: dict[str, object], *, as_json: bool) -> None:
    import json

    if as_json:
        click.echo(json.dumps(values))
        return
    width = max(map(len, values))
    for key, value in values.items():
        click.echo(f"{key.replace('_', ' '):<{width}}  {value}")
