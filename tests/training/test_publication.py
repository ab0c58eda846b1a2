"""Report and model card of a run: the figures of metrics.jsonl, metadata that the Hub takes, no file of a user lost."""

from __future__ import annotations

import json
import re
import shlex
import sys

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.utils import validate_repo_id

from interface import flags
from interface.files import written
from interface.model_card import MARK, is_hub_id
from tests.conftest import command
from training.apps_arguments import AppsArguments
from training.publication import publish as describe
from training.report import _count
from training.streaming_arguments import StreamingArguments
from training.summary import NoRun, summarize, write_facts

TRAIN = {"kind": "train", "learning_rate": 1e-3, "gradient_norm": 1.5, "tokens_per_second": 700.0, "skipped": 0}


def leave_run(folder, arguments=StreamingArguments, **changes):
    """A folder as a run of 8 steps leaves it, whose best model is that of step 5."""
    folder.mkdir(exist_ok=True)
    wish = arguments(**{"output_dir": str(folder), "model_name_or_path": "EleutherAI/gpt-neo-125M"} | changes)
    (folder / "run.json").write_text(json.dumps(wish.resolved()))
    rows = [
        TRAIN | {"step": 4, "loss": 3.25, "tokens": 400, "mfu": 0.4, "data_wait": 0.001},
        {"step": 5, "kind": "eval", "loss": 2.875123, "perplexity": 17.7281, "bits_per_byte": 1.2345678},
        TRAIN | {"step": 8, "loss": 2.5, "tokens": 800, "mfu": 0.4, "data_wait": 0.002},
        {"step": 8, "kind": "eval", "loss": 3.0625, "perplexity": 21.38, "bits_per_byte": 1.5},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    samples = [{"step": step, "prompt": "def f():\n", "completion": f"    return {step} < 9\n"} for step in (5, 8)]
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in samples))
    write_facts(folder, "python run.py --run_name 'a b'", {"parameters": "125.20 M", "devices": "8 x TPU"})
    return folder


def publish(folder, step):
    (folder / "exported.json").write_text(json.dumps({"step": step}))
    describe(folder)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_card_report_and_metrics_have_the_same_figures_those_of_the_published_step(tmp_path):
    folder = leave_run(tmp_path / "run")
    publish(folder, step=5)
    row = next(json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines() if '"eval"' in line)
    card = ModelCard.load(folder / "README.md")
    results = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert results == {name: row[name] for name in ("loss", "perplexity", "bits_per_byte")}
    page = (folder / "report.html").read_text()
    for value in results.values():
        assert f"{value:.4f}" in card.text and f"<b>{value:.3f}</b>" in page
    assert "400 tokens in 5 optimizer steps" in card.text and ">40.0 %</b>" in page


def test_the_cards_metadata_is_what_the_hub_takes(tmp_path):
    folder = leave_run(tmp_path / "run", dataset_name="owner/code.v1")
    (folder / "results.json").write_text('{"benchmark": "openai_humaneval", "metrics": {"pass@1": 0.125}}')
    publish(folder, step=8)
    content = (folder / "README.md").read_text()
    metadata = yaml.safe_load(content.split("---\n")[1])
    assert metadata["language"] == "code" and metadata["library_name"] == "transformers"
    assert {"code", "jax"} <= set(metadata["tags"]) and metadata["pipeline_tag"] == "text-generation"
    for repo in (metadata["base_model"], *metadata["datasets"]):
        validate_repo_id(repo)
    assert (metadata["base_model"], metadata["datasets"]) == ("EleutherAI/gpt-neo-125M", ["owner/code.v1"])
    card = ModelCard.load(folder / "README.md")
    assert card.data.to_dict() == metadata  # nothing is lost on the way through the client's own classes
    scores = {(r.dataset_type, r.metric_type): r.metric_value for r in card.data.eval_results}
    assert scores["openai_humaneval", "pass@1"] == 0.125 and scores["owner/code.v1", "loss"] == 3.0625
    assert "openai_humaneval" in (folder / "report.html").read_text()


def test_the_card_says_what_a_reader_needs(tmp_path):
    folder = leave_run(tmp_path / "run", weight_decay=0.125)
    publish(folder, step=8)
    text = (folder / "README.md").read_text()
    assert "python run.py --run_name 'a b'" in text and "| weight_decay | 0.125 |" in text and "8 x TPU" in text
    for words in ("Intended use", "Over-reliance", "Security", "Legal", "Bias", "Economic effects"):
        assert words in text
    for name in re.findall(r"!\[.*\]\((.*)\)", text):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert text.count("![") == 3 and "No licence of this model is known" in text
    page = (folder / "report.html").read_text()
    assert page.index("return 8 &lt; 9") < page.index("return 5 &lt; 9")  # the newest sample first
    assert page.count("<svg") == 7 and "python run.py" in page and "8 x TPU" in page


def test_the_snippet_of_a_card_for_apps_asks_as_the_training_did(tmp_path):
    folder = leave_run(tmp_path / "run", AppsArguments)
    publish(folder, step=8)
    text = (folder / "README.md").read_text()
    assert "ANSWER:" in text.split("```python")[1].split("```")[0]
    assert yaml.safe_load(text.split("---\n")[1])["datasets"] == ["codeparrot/apps"]


def test_data_and_licence_come_from_the_corpus_and_the_base_models_card(tmp_path, corpus):
    base = tmp_path / "base"
    base.mkdir()
    (base / "README.md").write_text("---\nlicense: mit\n---\n")
    (base / "tokenizer_patch.json").write_text('{"source": "owner/original"}')
    folder = leave_run(tmp_path / "run", model_name_or_path=str(base), data_dir=str(corpus))
    publish(folder, step=8)
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "mit" and card.data.base_model == "owner/original"
    manifest = json.loads((corpus / "manifest.json").read_text())
    assert f"{sum(manifest['documents'].values()):,} documents" in card.text
    assert "### Languages" in card.text and "The training code by class of licence: permissive" in card.text


def test_a_readme_that_is_not_ours_or_not_any_more_stays(tmp_path, capsys):
    theirs = leave_run(tmp_path / "theirs")
    (theirs / "README.md").write_text("my thesis")
    publish(theirs, step=8)
    assert (theirs / "README.md").read_text() == "my thesis" and "README.md" not in written(theirs)
    assert "is your own and stays as it is" in capsys.readouterr().out
    ours = leave_run(tmp_path / "ours")
    publish(ours, step=5)
    first = (ours / "README.md").read_text()
    publish(ours, step=8)
    assert (ours / "README.md").read_text() != first and "README.md" in written(ours)
    edited = first.replace(MARK, "") + "\nby hand\n"
    (ours / "README.md").write_text(edited)
    publish(ours, step=8)
    assert (ours / "README.md").read_text() == edited


def test_what_cannot_be_described_is_said_and_does_not_end_the_run(tmp_path, capsys):
    folder = leave_run(tmp_path / "run")
    (folder / "results.json").write_text('{"pass@1": 0.5}')
    publish(folder, step=8)
    assert "is no result of an evaluation" in capsys.readouterr().out
    with pytest.raises(NoRun, match=r'wanted \{"benchmark": NAME, "metrics"'):
        summarize(folder)


def test_a_folder_of_no_run_is_refused(tmp_path):
    with pytest.raises(NoRun, match="wanted the output_dir of a training run"):
        summarize(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(NoRun, match="no training rows yet"):
        summarize(tmp_path)


def test_the_report_command_makes_the_page_again(tmp_path):
    folder = leave_run(tmp_path / "run")
    done = command("-m", "training", "report", "--run_dir", folder, "--title", "Mine")
    assert done.returncode == 0, done.stderr
    assert "<h1>Mine</h1>" in (folder / "report.html").read_text()


def test_numbers_are_spelt_for_people():
    assert [_count(number) for number in (45_600, 2_097_152, 41_943_040_000)] == [
        "45,600", "2.10 million", "41.94 billion",
    ]  # fmt: skip


def test_the_command_is_kept_as_typed_without_secrets(monkeypatch):
    from dataclasses import dataclass

    @dataclass
    class Wish:
        name: str = flags.flag(None, "")
        api_token: str = flags.flag(None, "", secret=True)

    words = ["train.py", "--name", "a 'b' $HOME", "--api-token", "t1", "--api_token=t2", "--last"]
    monkeypatch.setattr(sys, "orig_argv", ["/somewhere/python3", *words])
    said = flags.typed(Wish)
    assert shlex.split(said) == ["python", "train.py", "--name", "a 'b' $HOME", "--last"]


def test_names_that_can_be_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "model").mkdir(parents=True)
    names = ["owner/name", "EleutherAI/gpt-neo-1.3B", "gpt2", "./x/y", "/a/b", "a/b/c", "~/m", "here/model", None, ""]
    assert [name for name in names if is_hub_id(name)] == ["owner/name", "EleutherAI/gpt-neo-1.3B"]
