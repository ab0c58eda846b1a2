"""The Python API as docs/api.md tells it, executed."""

from __future__ import annotations

import re

from tests.conftest import ROOT, succeed

CHECKS = """
assert logits_BTV.shape == (*tokens_BT.shape, model.config.vocab_size)
assert [len(samples) for samples in completions] == [3, 3]
assert text == completions[0][0].text
"""


def test_the_documented_lines_run_and_give_what_they_say(model_dir, tmp_path):
    (tmp_path / "my-model").symlink_to(model_dir)
    parts = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
    assert len(parts) == 5
    succeed("-c", "".join(parts) + CHECKS, cwd=tmp_path)
