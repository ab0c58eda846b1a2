"""The README: short, and its results tables name commands that are there."""

from __future__ import annotations

import re

from tests.conftest import ROOT
from tests.docs.pages import commands_of
from tests.docs.test_commands import check_run

README = (ROOT / "README.md").read_text()


def test_the_readme_is_under_150_lines():
    assert README.count("\n") < 150


def test_each_row_of_the_results_names_a_command_that_is_there():
    results = README[README.index("## Results") :].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in results.splitlines() if line.startswith("|")]
    commands = [row[-1].strip() for row in rows if row[-1].strip() not in ("command", "---")]
    assert len(commands) >= 8
    for command in commands:
        (line,) = re.findall(r"^`(\./run\.sh[^`]*)`$", command) or [""]
        assert line, f"the last column of a results table says {command!r}; wanted a command of run.sh"
        check_run(commands_of("README.md", line)[0])


def test_the_citation_is_whole():
    import yaml

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0"
    for entry in (cited, *cited["references"]):
        assert entry["title"] and entry["type"] and entry["authors"]
        assert all({"name"} & author.keys() or {"family-names"} & author.keys() for author in entry["authors"])
    version = re.search(r"^version = (\S+)$", (ROOT / "setup.cfg").read_text(), re.M)[1]
    assert str(cited["version"]) == version
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
