"""Completion in an editor: the real server on an exported model, asked as the page has Continue ask."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, succeed
from tests.docs.pages import blocks, shown
from tests.ranks import free_port

PAGE = ROOT / "docs" / "editor.md"
PROMPT = "def add(a, b):\n"


def configuration() -> dict:
    (text,) = [text for language, text in blocks(PAGE) if language == "yaml"]
    return yaml.safe_load(text)["models"][0]


def words_of(program: str) -> list[str]:
    (command,) = [one for one in shown() if one.page == "docs/editor.md" and one.words[0] == program]
    return command.words


def post(url: str, body: dict) -> str:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


def test_the_page_agrees_with_itself():
    """Address and name are the server's in the command, in the request, in the configuration and in the score."""
    serve, curl, model = words_of("transformers"), words_of("curl"), configuration()
    host, port = serve[serve.index("--host") + 1], serve[serve.index("--port") + 1]
    assert model["apiBase"] == f"http://{host}:{port}/v1/"  # Continue puts `completions` behind the last slash
    assert curl[1] == model["apiBase"] + "completions"
    assert serve[2] == model["model"] == json.loads(curl[curl.index("-d") + 1])["model"]
    score = words_of("python")
    assert score[score.index("--base_url") + 1] + "/" == model["apiBase"]
    assert score[score.index("--model") + 1] == model["model"]
    assert model["provider"] == "openai" and model["roles"] == ["autocomplete"]
    sizes = json.loads((ROOT / "training" / "main_job_model.json").read_text())
    assert model["defaultCompletionOptions"]["contextLength"] == sizes["max_position_embeddings"]


@pytest.fixture(scope="module")
def served(tmp_path_factory, roomy_dir):
    """The page's command in a folder where its model is; another port, since 8000 may be taken."""
    pytest.importorskip("torch", reason="the server runs torch")
    pytest.importorskip("uvicorn", reason="the server needs: pip install -e '.[serve]'")
    folder = tmp_path_factory.mktemp("editor")
    words = words_of("transformers")
    (folder / words[2]).parent.mkdir(parents=True)
    (folder / words[2]).symlink_to(roomy_dir)
    port = str(free_port())
    words[words.index("--port") + 1] = port
    words[0] = str(Path(sys.executable).with_name("transformers"))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, env={**os.environ, "XLA_FLAGS": ""})
    url = configuration()["apiBase"].replace(":8000", f":{port}")
    for _ in range(1200):
        try:
            urllib.request.urlopen(url.removesuffix("v1/") + "health", timeout=5)
            break
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
    else:
        pytest.fail((folder / "log").read_text())
    yield folder, url
    process.terminate()
    process.wait(timeout=30)


def greedy(model_dir: Path, tokens: int) -> str:
    """What this project's own sampler writes after the prompt."""
    import modeling
    from generation import Sampler, Settings
    from tokenizer_patch import Tokenizer

    model, tokenizer = modeling.load(model_dir), Tokenizer.load(model_dir)
    sampler = Sampler(model.config, model.params, tokenizer, dtype="float32")
    return sampler.complete([PROMPT], Settings(max_new_tokens=tokens, temperature=0.0))[0][0].text


@pytest.mark.long
def test_the_server_streams_what_our_own_sampler_writes(served, roomy_dir):
    """A stream of text, with the fields and stops that Continue sends (core/llm/llms/OpenAI.ts, getStopTokens.ts)."""
    model, (_, url) = configuration(), served
    prompt = model["promptTemplates"]["autocomplete"].replace("{{{prefix}}}", PROMPT)
    body = {"model": model["model"], "prompt": prompt, "max_tokens": 12, "temperature": 0.01,
            "stream": True, "stop": ["/src/", "#- coding: utf-8", "```"]}  # fmt: skip
    lines = [line for line in post(url + "completions", body).splitlines() if line.startswith("data: {")]
    chunks = [json.loads(line.removeprefix("data: "))["choices"][0] for line in lines]
    assert len(chunks) > 2 and chunks[-1]["finish_reason"] in ("length", "stop")
    text = "".join(chunk["text"] for chunk in chunks)
    assert text == greedy(roomy_dir, 12).rstrip("\N{REPLACEMENT CHARACTER}")  # half a character is not streamed


@pytest.mark.long
def test_the_request_of_the_page_is_answered_and_what_it_says_of_the_server_is_so(served, roomy_dir):
    _, url = served
    body = json.loads(words_of("curl")[words_of("curl").index("-d") + 1])
    answers = [json.loads(post(url + "completions", {**body, "temperature": t}))["choices"][0]["text"] for t in (0, 2)]
    assert answers == [greedy(roomy_dir, body["max_tokens"])] * 2  # the temperature is not heeded
    with pytest.raises(urllib.error.HTTPError, match="400"):
        post(url + "completions", {**body, "model": "other"})
    with pytest.raises(urllib.error.HTTPError, match="500"):  # no chat template
        post(url + "chat/completions", {"model": body["model"], "messages": [{"role": "user", "content": "hello"}]})


@pytest.mark.long
def test_the_server_is_scored_by_the_command_of_the_page(served):
    folder, url = served
    words = words_of("python")[1:]
    words[words.index("--base_url") + 1] = url.rstrip("/")
    words[words.index("--num_tasks") + 1] = "2"
    said = succeed(*words, "--max_new_tokens", "5", cwd=folder, PYTHONPATH=str(ROOT))
    results = json.loads((folder / "runs" / "served" / "results.json").read_text())
    assert results["num_tasks"] == 2 and re.search(r"pass@1", said)
