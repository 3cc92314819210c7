"""What the pages for people name is there: files, folders, and tests by their names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md"))]


def named(page: str) -> list[tuple[str, str]]:
    """Return (file or folder of tests, name of a test in it or nothing)."""
    text = (ROOT / page).read_text()
    found = re.findall(r"`(tests/[\w/.-]+?)(?:::(\w+))?`", text)
    return [(path, name) for path, name in found if "NAME" not in path]


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_is_there(page: str):
    for path, name in named(page):
        assert (ROOT / path).exists(), f"{page} names {path}"
        if name:
            assert f"def {name}(" in (ROOT / path).read_text(), f"{page} names {path}::{name}"


@pytest.mark.parametrize("page", PAGES)
def test_every_page_that_a_page_links_to_is_there(page: str):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"


def test_threats_are_named_with_their_tests():
    text = (ROOT / "docs/security.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| threat", "| ---"))]
    assert len(rows) >= 20
    assert [row for row in rows if "`tests/" not in row] == []
