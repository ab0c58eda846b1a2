"""The site: it builds without a warning, holds every page, and asks no other host for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

pytest.importorskip("mkdocs", reason="the site needs: pip install -e '.[docs]'")


def build(config: Path, folder: Path) -> subprocess.CompletedProcess:
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", config, "--site-dir", folder]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_in_the_navigation_and_in_the_site(site):
    def names(entry):
        if isinstance(entry, str):
            return [entry]
        children = entry.values() if isinstance(entry, dict) else entry
        return [name for child in children for name in names(child)]

    listed = names(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    found = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(listed) == sorted(found)
    assert all((site / name).with_suffix(".html").is_file() for name in listed)


def test_no_page_loads_anything_from_another_host(site):
    """No fonts, scripts, styles or pictures; links that a reader follows are no matter."""
    for page in site.rglob("*.html"):
        text = page.read_text()
        for tag in re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", text):
            assert not re.search(r'(?:src|href)="?(?:https?:)?//', tag), f"{page.name}: {tag}"
        assert 'class="mermaid"' not in text  # its script would come from a CDN
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import )[\"']?(?:https?:)?//", style.read_text()), style.name


def test_broken_links_and_anchors_would_fail_the_build(tmp_path):
    (tmp_path / "docs").mkdir()
    broken = ("nowhere.md", "index.md#nobody", "#nothing")
    (tmp_path / "docs" / "index.md").write_text("# Home\n\n" + "".join(f"[x]({link})\n" for link in broken))
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    config = {key: config[key] for key in ("site_name", "theme", "validation", "markdown_extensions")}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(config))
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode == 1 and "Aborted with 3 warnings" in done.stdout + done.stderr
    assert all(link in done.stdout + done.stderr for link in broken)


def test_each_bug_of_the_migration_page_has_its_test():
    """Its number stands in the file that is named; C8 is what was not there at all."""
    rows = re.findall(r"^\| ([TSAC]\d+) \|.*\| (tests/\S+) \|$", (ROOT / "docs" / "migration.md").read_text(), re.M)
    numbers = [number for number, _ in rows]
    assert numbers == [f"{kind}{n}" for kind, last in zip("TSAC", (5, 13, 11, 8)) for n in range(1, last + 1)]
    for number, path in rows:
        text = (ROOT / path).read_text()
        kept = re.search(rf"\b{number}\b", text) or "T1 to T5" in text
        assert kept or number == "C8", f"{path} says nothing of {number}"
