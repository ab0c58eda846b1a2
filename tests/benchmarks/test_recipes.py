"""The recipes' table: its rows are put in place, and what is no number is no score."""

from __future__ import annotations

import json
import re

import pytest

from benchmarks import recipes
from tests.conftest import ROOT


def test_rows_take_the_place_of_those_of_the_same_recipes_and_keep_the_others(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{recipes.BEGIN}\n| `gpt-j` | old |\n| `apps` | kept |\n{recipes.END}\nafter\n")
    monkeypatch.setattr(recipes, "PAGE", page)
    recipes.write({"gpt-j": "| `gpt-j` | new |", "codegen": "| `codegen` | new |"})
    text = page.read_text()
    assert re.findall(r"^\| `.*", text, re.M) == ["| `apps` | kept |", "| `codegen` | new |", "| `gpt-j` | new |"]
    assert text.startswith(f"before\n{recipes.BEGIN}\n| recipe |") and text.endswith(f"{recipes.END}\nafter\n")


def test_a_score_is_a_number(tmp_path):
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "results.json").write_text(json.dumps({"metrics": {"pass@1": 0.25}}))
    (tmp_path / "bits.json").write_text(json.dumps({"results": {f"{tmp_path}/model": {"bits_per_byte": 2.5}}}))
    scored = recipes.Recipe("any", bits="bits.json")
    assert recipes.scores(scored, tmp_path) == "pass@1 0.25, bits a byte 2.5"
    (tmp_path / "scores" / "results.json").write_text(json.dumps({"metrics": {"pass@1": None}}))
    with pytest.raises(recipes.Failed, match="no number for pass@1"):
        recipes.scores(scored, tmp_path)


def test_the_benchmark_has_every_recipe_of_the_launcher():
    listed = re.search(r"^  (.*)\) recipe=", (ROOT / "run.sh").read_text(), re.M)[1].split(" | ")
    assert [recipe.name for recipe in recipes.RECIPES] == listed
    assert all((ROOT / "docs" / "recipes" / f"{name}.md").is_file() for name in listed)


@pytest.mark.long
def test_a_recipe_is_killed_goes_on_and_loads_in_torch(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    assert " no" not in recipes.row(recipes.RECIPES[2], tmp_path)
