"""The Python API as docs/api.md tells it, executed."""

from __future__ import annotations

import re

from tests.conftest import ROOT


def test_the_documented_lines_run_and_give_what_they_say(model_dir, tmp_path, monkeypatch):
    (tmp_path / "my-model").symlink_to(model_dir)
    monkeypatch.chdir(tmp_path)
    parts = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
    assert len(parts) == 4
    names: dict = {}
    for part in parts:
        exec(part, names)
    assert names["logits_BTV"].shape == (*names["tokens_BT"].shape, names["model"].config.vocab_size)
    assert [len(samples) for samples in names["completions"]] == [3, 3]
    assert names["text"] == names["completions"][0][0].text
