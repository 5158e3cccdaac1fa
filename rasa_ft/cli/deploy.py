"""`rasa llm finetune deploy`: Kubernetes manifests for a model, written and never applied."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("model", type=click.Path(path_type=Path), default="finetuned")
@click.option("--name", help="What clients call the model, and the beginning of all names; the folder's by default.")
@click.option("--namespace", required=True, help="Where it is to run.")
@click.option(
    "--storage",
    required=True,
    metavar="SOURCE",
    help="Where pods take the model from: pvc:NAME, s3://BUCKET/PREFIX or image:REF.",
)
@click.option("--size", default="gpu", show_default=True, metavar="SIZE", help="cpu, gpu, or gpu:N for N GPUs a pod.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write.  [default: deploy/NAME]")
@click.option("--diff", is_flag=True, help="Print what would change in the folder, and write nothing.")
def deploy(
    model: Path, name: str | None, namespace: str, storage: str, size: str, output: Path | None, diff: bool
) -> None:
    """Write a kustomize folder that serves MODEL (default: finetuned) on Kubernetes.

    Nothing is applied: the steps to take go to stderr, the lines for endpoints.yml and config.yml to stdout.
    """
    from rasa_ft.cli.serve import student_template
    from rasa_ft.serving.command import ServeSettings, find_model, served_name
    from rasa_ft.serving.endpoint import Endpoint
    from rasa_ft.serving.kubernetes.overlay import deployment_files
    from rasa_ft.serving.kubernetes.settings import deploy_settings
    from rasa_ft.serving.kubernetes.steps import steps
    from rasa_ft.serving.kubernetes.writing import added_components, deployment_diff, write_deployment

    found = find_model(model)
    settings = deploy_settings(found, name or served_name(ServeSettings(found)), namespace, storage, size)
    output = output or Path("deploy") / settings.name
    files = deployment_files(settings, added_components(output))
    if diff:
        changes = deployment_diff(files, output)
        click.echo(changes or f"{output} would not change.\n", nl=False, err=not changes)
        return
    write_deployment(files, output)
    click.echo(f"Wrote {output}. Nothing was applied; these are the steps:\n", err=True)
    for number, text in enumerate(steps(settings, model, output), 1):
        click.echo(f"{number}.  {text}\n", err=True)
    click.echo(Endpoint(settings.url, settings.name).snippet(student_template(model)), nl=False)
