"""Real weights behind a real server; minutes on a laptop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rasa_ft.llm.client import Request
from rasa_ft.llm.groups import build_llm
from rasa_ft.serving.command import Backend, ServeSettings, choose_backend, find_model
from rasa_ft.serving.endpoint import Endpoint
from rasa_ft.serving.vllm import free_port, serve

PROMPT = "Answer with one word.\nUSER: What is the capital of France?"


@pytest.mark.slow
@pytest.mark.parametrize("backend", [pytest.param("vllm", marks=pytest.mark.vllm), "transformers"])
def test_a_served_model_sees_the_tokens_of_its_chat_template(tmp_path: Path, backend: Backend) -> None:
    """What the server counts is what the chat template makes of the one user message, as in training."""
    pytest.importorskip("torch")
    from rasa_ft.training.base_models import SMOLLM2, find_base_model, load_tokenizer

    if backend == "vllm":
        pytest.importorskip("vllm")
        backend = choose_backend()
    else:
        pytest.importorskip("uvicorn")
    messages = [{"role": "user", "content": PROMPT}]
    tokens = load_tokenizer(SMOLLM2).apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    settings = ServeSettings(find_model(Path(find_base_model(SMOLLM2))), name="small", port=free_port())
    with serve(settings, log=tmp_path / "log", backend=backend) as server:
        group = Endpoint(server.url, server.model_name, max_tokens=8, timeout=120).model_group()
        llm = build_llm(group, project=tmp_path)
        first, second = (asyncio.run(llm.complete(Request.of_prompt(PROMPT))) for _ in range(2))
    assert "Paris" in first.text
    assert first.text == second.text
    assert first.prompt_tokens == len(tokens)
    assert first.completion_tokens is not None
    assert first.completion_tokens <= 8
