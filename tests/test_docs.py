"""The documentation: pages that are made from the code are fresh, links lead somewhere, and quoted errors exist."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import saliency_cli

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
WRITTEN = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
ANY = "…"  # stands in docs/troubleshooting.md for what an error names


def script(name: str) -> ModuleType:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    return script("generate")


# -- pages made from the code


def test_pages_are_fresh(generate: ModuleType) -> None:
    stale = [path.relative_to(ROOT).as_posix() for path in generate.stale(generate.pages())]
    assert stale == [], "write them again: make docs"


def test_a_stale_page_is_seen(generate: ModuleType) -> None:
    made = dict(generate.pages())
    path = DOCS / "commands" / "predict.md"
    made[path] += "more\n"
    made[DOCS / "commands" / "none.md"] = ""
    del made[DOCS / "commands" / "batch.md"]
    assert {each.name for each in generate.stale(made)} == {"predict.md", "none.md", "batch.md"}


def test_every_public_name_and_every_command_has_its_place(generate: ModuleType) -> None:
    titles = set(re.findall(r"^### (\w+)$", (DOCS / "python.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert titles == {name for name in saliency_cli.__all__ if not name.startswith("__")}
    names = dict(generate.commands())
    assert set(generate.SEE) <= set(names)
    for group, names_of_group in generate.GROUPS.items():
        assert set(names_of_group) <= set(saliency_cli.__all__), group


def test_every_option_has_its_row(generate: ModuleType) -> None:
    text = (DOCS / "commands" / "predict.md").read_text(encoding="utf-8")
    for row in (
        "| `-o`, `--output` | text | – | A file for one product, a folder for several, - for stdout. |",
        "| `--opacity` | a number | `0.7` | Of the overlay, 0 to 1. |",
        "| `--model` | `tsfp`, `tased` | `tsfp` | The network. Variable: `VSAL_MODEL`. |",
        "| `--raw`, `--no-raw` | – | `--no-raw` |",
    ):
        assert row in text


def test_pages_depend_on_nothing_around_them_and_import_nothing_heavy(tmp_path: Path) -> None:
    """Neither variables nor a vsal.toml change a default."""
    (tmp_path / "vsal.toml").write_text('opacity = 0.1\ndevice = "cuda:7"\n', encoding="utf-8")
    program = f"""
import runpy, sys
sys.argv = ["generate.py", "--check"]
try:
    runpy.run_path({str(DOCS / "generate.py")!r}, run_name="__main__")
except SystemExit as leaving:
    code = leaving.code
print("loaded:", *sorted({{"torch", "av", "cv2", "numpy", "matplotlib"}} & set(sys.modules)))
sys.exit(code)
"""
    around = {"VSAL_MODEL": "tased", "VSAL_DEVICE": "mps", "VSAL_THREADS": "3", "VSAL_CONFIG": "none.toml"}
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, **around},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stdout.split()) == (0, ["loaded:"]), result.stdout + result.stderr


@pytest.mark.parametrize(
    ("docstring", "markdown"),
    [
        ("One ``word`` and :class:`Frame`.", "One `word` and `Frame`."),
        ("See :func:`~saliency_cli.pipeline.predict`.", "See `predict`."),
        (
            "Args:\n    one, two: first\n        line.\n    three: 3 * 3.",
            "*Arguments*\n\n- `one`, `two`: first line.\n- `three`: 3 \\* 3.",
        ),
        ("So::\n\n    import this\n\nand more", "So:\n\n```python\nimport this\n```\n\nand more"),
        ("- one\n- two\n  and a half", "- one\n- two and a half"),
    ],
)
def test_docstrings_become_markdown(generate: ModuleType, docstring: str, markdown: str) -> None:
    assert generate.markdown(docstring) == markdown


# -- links


def outside_code(text: str) -> str:
    """A page without fenced and inline code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    found: set[str] = set()
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for heading in re.findall(r"^#+ +(.*?) *$", text, re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        base = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number, anchor = 0, base
        while anchor in found:
            number += 1
            anchor = f"{base}-{number}"
        found.add(anchor)
    return found


def dead_links(page: Path) -> Iterator[str]:
    """Links of a page to files and anchors that are not there."""
    for link in re.findall(r"\]\(([^)\s]+)\)", outside_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue  # another site: tests are offline
        name, _, anchor = link.partition("#")
        goal = (page.parent / name).resolve() if name else page
        if not goal.exists():
            yield f"{page.name}: {link}: there is no such file"
        elif anchor and anchor not in anchors(goal):
            yield f"{page.name}: {link}: there is no such heading"


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert list(dead_links(page)) == []


def test_a_dead_link_is_seen(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# It's `one` thing\n\n# Two\n\n# Two\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](other.md#its-one-thing) [b](other.md#two-1) [c](#here) [d](https://example.org/none)\n"
        "`[e](code.md)`\n[f](none.md) [g](other.md#three) [h](#there)\n",
        encoding="utf-8",
    )
    assert [line.split(": ")[1] for line in dead_links(page)] == ["none.md", "other.md#three", "#there"]


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)#\s]+)", outside_code(page.read_text(encoding="utf-8")))
        waiting += [(page.parent / link).resolve() for link in links if not re.match(r"[a-z]+:", link)]
    assert [page.relative_to(ROOT).as_posix() for page in WRITTEN if page not in reached] == []


# -- errors


@cache
def sentences() -> str:
    """Every text in the code but docstrings, one a line, what is filled in as …."""

    def spelled(node: ast.expr) -> str:
        if isinstance(node, ast.Constant):
            return str(node.value)
        if isinstance(node, ast.JoinedStr):
            return "".join(spelled(part) if isinstance(part, ast.Constant) else ANY for part in node.values)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return spelled(node.left) + spelled(node.right)
        return ANY

    texts = []
    for module in sorted((ROOT / "saliency_cli").rglob("*.py")):
        tree = ast.parse(module.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp) and id(node) not in docstrings:
                texts.append(re.sub(f"{ANY}+", ANY, spelled(node)).replace("\n", " "))
    return "\n".join(texts)


def quoted_errors() -> list[str]:
    """The headings of docs/troubleshooting.md that quote an error."""
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^### `(.*)`$", text, re.MULTILINE)


def test_twenty_errors_are_told() -> None:
    assert len(quoted_errors()) >= 20
    assert len(set(quoted_errors())) == len(quoted_errors())


@pytest.mark.parametrize("quoted", quoted_errors())
def test_quoted_errors_still_occur_in_the_code(quoted: str) -> None:
    assert quoted.strip(f"{ANY} ") in sentences()


def test_an_error_that_nobody_raises_is_seen() -> None:
    assert "does not exist; check the spelling" in sentences()
    assert "does not exist; check the speling" not in sentences()


# -- figures


def test_figures_are_all_there_and_used() -> None:
    drawn = {path.name for path in (DOCS / "figures").glob("*.svg")}
    text = (DOCS / "how-it-works.md").read_text(encoding="utf-8")
    assert drawn == set(re.findall(r"\]\(figures/([\w-]+\.svg)\)", text))
    for name in drawn:
        picture = (DOCS / "figures" / name).read_text(encoding="utf-8")
        assert "<dc:date>" not in picture
        assert not re.search(r"\d{4}-\d\d-\d\dT", picture)


@pytest.mark.slow
def test_figures_have_the_same_bytes_every_time(tmp_path: Path) -> None:
    figures = script("figures")
    for folder in ("one", "two"):
        figures.main(tmp_path / folder)
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
    assert {path.stem for path in (tmp_path / "one").iterdir()} == set(figures.FIGURES)
    assert {path.name for path in (DOCS / "figures").glob("*.svg")} == {f"{name}.svg" for name in figures.FIGURES}
