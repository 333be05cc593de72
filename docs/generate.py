"""Writes the pages that are made from the code: docs/commands/*.md and docs/python.md.

::

    python docs/generate.py            # writes what differs (make docs)
    python docs/generate.py --check    # only names what differs; exit code 1 if anything does

Commands are read from the signatures of their functions, and the Python API from the source as text: the pages depend
neither on the machine nor on its variables, and nothing heavy is imported.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Final, Literal, get_args, get_origin

import typer
from typer.models import ArgumentInfo, OptionInfo

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # started as a script, vsal need not be installed
    sys.path.insert(0, str(ROOT))

import saliency_cli  # noqa: E402
from saliency_cli import errors  # noqa: E402
from saliency_cli.cli.app import app, common  # noqa: E402
from saliency_cli.settings import KEYS  # noqa: E402

__all__ = ["main", "pages"]

DOCS = ROOT / "docs"
PACKAGE = ROOT / "saliency_cli"

# What each command's page points to, beside its own
SEE: Final[Mapping[str, tuple[str, ...]]] = {
    "predict": ("quickstart.md", "pipes.md", "reading.md", "models.md", "troubleshooting.md"),
    "batch": ("batch.md", "troubleshooting.md"),
    "reframe": ("reframing.md",),
    "report": ("report.md",),
    "evaluate": ("evaluation.md",),
    "train": ("training.md",),
    "inspect": ("tools.md", "reading.md"),
    "bench": ("speed.md",),
    "doctor": ("tools.md", "troubleshooting.md"),
    "models": ("models.md",),
    "models export": ("tools.md", "models.md"),
}
# Names of the public API by what they are for; what stands in no group comes last.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "Predicting": ("predict", "saliency_frames", "PredictOptions", "Prediction", "load_model", "SaliencyPredictor"),
    "What is handed on": ("VideoInfo", "Frame", "SaliencyFrame"),
    "Batches": ("run_batch", "BatchReport", "Selection", "Shard"),
    "Cropping": ("reframe", "ReframeOptions", "Reframing"),
    "Pages to look at": ("report", "report_all", "ReportOptions", "ReportPage", "ReportIndex"),
    "Looking": ("inspect_source", "Inspection", "measure_cost", "Cost", "examine", "Diagnosis"),
    "Measuring speed": ("measure_speed", "Speed", "random_model"),
    "Export": ("export_onnx", "Exported"),
    "Metrics": ("metrics",),
    "Errors": ("VsalError", "UsageError", "MediaError", "ReadError", "WriteError", "WeightsError", "DeviceError"),
}
WIDTH: Final = 100  # of signatures, in characters
SECTIONS: Final = {
    "Args": "Arguments",
    "Attributes": "Attributes",
    "Returns": "Returns",
    "Yields": "Yields",
    "Raises": "Raises",
}


def pages() -> dict[Path, str]:
    """Every page that is made from the code, and what it says."""
    return {**command_pages(), DOCS / "python.md": python_page()}


# -- commands


def commands(
    group: typer.Typer = app, before: tuple[str, ...] = ()
) -> Iterator[tuple[str, Callable[..., Any] | typer.Typer]]:
    """("models list", its function) of every command, groups before what is in them."""
    for each in group.registered_commands:
        if each.callback is not None and not each.hidden:
            yield " ".join((*before, each.name or each.callback.__name__.replace("_", "-"))), each.callback
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            path = (*before, str(inner.name))
            yield " ".join(path), inner.typer_instance
            yield from commands(inner.typer_instance, path)


def command_pages() -> dict[Path, str]:
    """docs/commands: a page for each command, and README.md, which lists them."""
    found = dict(commands())
    made = {DOCS / "commands" / "README.md": _index(found)}
    for name, what in found.items():
        text = _group_page(name, what, found) if isinstance(what, typer.Typer) else _command_page(name, what)
        made[DOCS / "commands" / _page(name)] = text
    return made


def _page(name: str) -> str:
    return f"{name.replace(' ', '-')}.md"


def _note(source: str) -> str:
    return f"<!-- Made by docs/generate.py from {source}; change it there, then: make docs -->"


def _summary(what: Callable[..., Any] | typer.Typer) -> str:
    """A command in one line."""
    if isinstance(what, typer.Typer):
        return str(what.info.help)
    return paragraphs(inspect.getdoc(what) or "")[0]


def _index(found: Mapping[str, Callable[..., Any] | typer.Typer]) -> str:
    rows = [f"| [`vsal {name}`]({_page(name)}) | {_cell(_summary(what))} |" for name, what in found.items()]
    lines = [
        "# The commands",
        _note("saliency_cli/cli"),
        "```\nvsal [OPTIONS] COMMAND [ARGS]...\n```",
        "\n".join(["| command | what it does |", "|---|---|", *rows]),
        "## Options before the command",
        _options(parameters_of(common), completion=True),
        "## Where options come from",
        "A flag comes first, then the variable that stands beside it in these tables, then `vsal.toml` "
        "([tools.md](../tools.md#options-in-a-file-vsaltoml)), then the default. Defaults are those without any of "
        "these; `--help` shows the ones that are in force.",
        "## Exit codes",
        _exit_codes(),
    ]
    return "\n\n".join(lines) + "\n"


def _exit_codes() -> str:
    kinds = [each for each in map(errors.__dict__.get, errors.__all__) if isinstance(each, type)]
    by_code: dict[int, list[type]] = {}
    for kind in kinds:
        if issubclass(kind, errors.VsalError):
            by_code.setdefault(kind.exit_code, []).append(kind)
    rows = ["| code | when |", "|---|---|", "| 0 | done |"]
    for code, group in sorted(by_code.items()):
        highest = next(each for each in group if not any(issubclass(each, other) for other in group if other != each))
        said = "Our own fault." if code == 1 else paragraphs(inspect.getdoc(highest) or "")[0]
        rows.append(f"| {code} | {_cell(said[0].lower() + said[1:].rstrip('.'))} |")
    rows += [
        "| 6 | some of several inputs, or items of a batch, failed |",
        "| 130 | interrupted |",
        "| 141 | whoever read stdout has ended |",
    ]
    return "\n".join(rows)


def _group_page(name: str, group: typer.Typer, found: Mapping[str, Callable[..., Any] | typer.Typer]) -> str:
    rows = [
        f"| [`vsal {each}`]({_page(each)}) | {_cell(_summary(what))} |"
        for each, what in found.items()
        if each.startswith(f"{name} ")
    ]
    lines = [
        f"# vsal {name}",
        _note(f"saliency_cli/cli/{name}.py"),
        _summary(group),
        f"```\nvsal {name} COMMAND [ARGS]...\n```",
        "\n".join(["| command | what it does |", "|---|---|", *rows]),
        _see(name),
    ]
    return "\n\n".join(line for line in lines if line) + "\n"


def _command_page(name: str, function: Callable[..., Any]) -> str:
    given = parameters_of(function)
    arguments = [each for each in given if isinstance(each[1], ArgumentInfo)]
    synopsis = " ".join([f"vsal {name} [OPTIONS]", *(_usage(*each) for each in arguments)])
    source = function.__module__.replace(".", "/")
    lines = [
        f"# vsal {name}",
        _note(f"{source}.py"),
        markdown(inspect.getdoc(function) or ""),
        f"```\n{synopsis}\n```",
    ]
    if arguments:
        rows = [
            f"| `{_metavar(parameter, info)}` | {_cell(_without_default(info.help))} | {_default(parameter, info)} |"
            for parameter, info in arguments
        ]
        lines += ["## Arguments", "\n".join(["| argument | what it is | default |", "|---|---|---|", *rows])]
    lines += ["## Options", _options([each for each in given if isinstance(each[1], OptionInfo)])]
    if name in KEYS:
        keys = ", ".join(f"`{key}`" for key in KEYS[name])
        lines.append(
            f"In [vsal.toml](../tools.md#options-in-a-file-vsaltoml), alone or under `[{name}]`, may stand: {keys}."
        )
    lines.append(_see(name))
    return "\n\n".join(line for line in lines if line) + "\n"


def _see(name: str) -> str:
    links = [f"[{page}](../{page})" for page in SEE.get(name, SEE.get(name.split()[0], ()))]
    return f"More: {', '.join(links)}; all commands: [README.md](README.md)." if links else ""


Given = tuple[inspect.Parameter, "OptionInfo | ArgumentInfo"]


def parameters_of(function: Callable[..., Any]) -> list[Given]:
    """The parameters that Typer makes arguments and options of, with what it was told of them."""
    found: list[Given] = []
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        for told in getattr(parameter.annotation, "__metadata__", ()):
            if isinstance(told, OptionInfo | ArgumentInfo) and not told.hidden:
                found.append((parameter.replace(annotation=get_args(parameter.annotation)[0]), told))
    return found


def _kind(parameter: inspect.Parameter) -> Any:
    """Its type, without None."""
    inner = [each for each in get_args(parameter.annotation) if each is not NoneType]
    union = NoneType in get_args(parameter.annotation)
    return inner[0] if union and len(inner) == 1 else parameter.annotation


def _metavar(parameter: inspect.Parameter, info: OptionInfo | ArgumentInfo) -> str:
    return str(info.metavar or parameter.name.upper())


def _usage(parameter: inspect.Parameter, info: OptionInfo | ArgumentInfo) -> str:
    name = _metavar(parameter, info)
    if get_origin(_kind(parameter)) is list and not name.endswith("..."):
        name += "..."
    return name if parameter.default is inspect.Parameter.empty else f"[{name}]"


def _flags(parameter: inspect.Parameter, info: OptionInfo) -> str:
    """``-o``, ``--output``; of a switch both ends."""
    # In Annotated[], the first flag stands where elsewhere the default does.
    first = [info.default] if isinstance(info.default, str) else []
    given = [*first, *(info.param_decls or ())]
    long = f"--{parameter.name.replace('_', '-')}"
    if not given:
        given = [f"{long}/--no-{long[2:]}" if _kind(parameter) is bool else long]
    return ", ".join(f"`{each.strip()}`" for decl in given if decl.startswith("-") for each in decl.split("/"))


def _takes(parameter: inspect.Parameter, info: OptionInfo) -> str:
    kind = _kind(parameter)
    if kind is bool or info.count:
        return "–"
    repeats = ""
    if get_origin(kind) is list:
        kind, repeats = get_args(kind)[0], "" if "repeats" in (info.help or "") else "; repeats"
    if info.metavar:
        return f"`{info.metavar}`{repeats}"
    if get_origin(kind) is Literal:
        return ", ".join(f"`{each}`" for each in get_args(kind)) + repeats
    return {int: "a whole number", float: "a number", str: "text", Path: "a path"}[kind] + repeats


DEFAULT = re.compile(r" *\[default: ([^]]*)\]$")


def _without_default(told: str | None) -> str:
    return DEFAULT.sub("", told or "")


def _default(parameter: inspect.Parameter, info: OptionInfo | ArgumentInfo) -> str:
    if parameter.default is inspect.Parameter.empty:
        return "needed"
    if said := DEFAULT.search(info.help or ""):
        return _cell(said[1])
    value = parameter.default
    if value is None or value == () or info.show_default is False:
        return "–"
    if isinstance(value, bool):
        flags = _flags(parameter, info).split(", ") if isinstance(info, OptionInfo) else []
        both = [each for each in flags if each.startswith("`--")]
        return both[0 if value else 1] if len(both) == 2 else "–"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _options(given: Sequence[Given], *, completion: bool = False) -> str:
    rows = []
    for parameter, info in given:
        if not isinstance(info, OptionInfo):
            continue
        variable = f" Variable: `{info.envvar}`." if info.envvar else ""
        rows.append(
            f"| {_flags(parameter, info)} | {_takes(parameter, info)} | {_default(parameter, info)} "
            f"| {_cell(_without_default(info.help))}{variable} |"
        )
    if completion:
        rows.append("| `--install-completion` | – | – | Teach the current shell the commands and options. |")
        rows.append("| `--show-completion` | – | – | Show what would be installed. |")
    rows.append("| `-h`, `--help` | – | – | Show the help page. |")
    return "\n".join(["| option | takes | default | what it does |", "|---|---|---|---|", *rows])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


# -- docstrings


def paragraphs(text: str) -> list[str]:
    """Paragraphs of a docstring, each in one line; literal blocks are left out."""
    return [" ".join(each.split()) for each in re.split(r"\n\s*\n", text.strip()) if each.strip()] or [""]


def _inline(text: str) -> str:
    """reStructuredText's literals and roles as Markdown's."""
    text = re.sub(r":(?:class|func|meth|mod|attr|data):`(?:~[\w.]+\.)?([^`]+)`", r"`\1`", text)
    text = re.sub(r"``([^`]+)``", r"`\1`", text)
    # Outside of literals, * and _ are themselves.
    parts = text.split("`")
    parts[::2] = [re.sub(r"(\*|<(?=\w))", r"\\\1", each) for each in parts[::2]]
    return "`".join(parts)


def markdown(text: str) -> str:
    """A docstring as Markdown: literal blocks as fences, sections such as ``Args:`` as lists."""
    blocks: list[str] = []
    literal = False
    for block in re.split(r"\n[ \t]*\n", inspect.cleandoc(text)):
        head, _, rest = block.partition("\n")
        if literal and block.startswith(" "):
            blocks.append(f"```python\n{textwrap.dedent(block)}\n```")
            continue
        literal = block.rstrip().endswith("::")
        if head.rstrip(":") in SECTIONS and head.endswith(":"):
            blocks.append(_section(SECTIONS[head.rstrip(":")], textwrap.dedent(rest)))
        elif re.match(r"[-*] ", block):
            blocks.append(_inline_list(block))
        elif block.strip() not in ("", "::"):
            prose = block.rstrip()
            prose = prose[:-1] if literal else prose
            blocks.append(textwrap.fill(_inline(" ".join(prose.split())), 120, **WRAP))
    return "\n\n".join(blocks)


WRAP: Final[Any] = {"break_long_words": False, "break_on_hyphens": False}


def _inline_list(block: str) -> str:
    items = re.split(r"\n(?=[-*] )", block)
    texts = (_inline(" ".join(item[2:].split())) for item in items)
    return "\n".join(textwrap.fill(f"- {text}", 120, subsequent_indent="  ", **WRAP) for text in texts)


def _section(title: str, body: str) -> str:
    """``name: what it is`` as a list; prose as it is."""
    items: list[str] = []
    for line in body.splitlines():
        if line.startswith(" ") and items:
            items[-1] += f" {line.strip()}"
        else:
            items.append(line.strip())
    lines = []
    for item in items:
        match = re.match(r"([A-Za-z_*][\w., *]*): (.*)", item)
        names = ", ".join(f"`{name}`" for name in match[1].split(", ")) if match else ""
        text = f"{names}: {_inline(match[2])}" if match else _inline(item)
        lines.append(textwrap.fill(f"- {text}", 120, subsequent_indent="  ", **WRAP))
    return f"*{title}*\n\n" + "\n".join(lines)


# -- the Python API


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_path(module).read_text(encoding="utf-8"))


def _path(module: str) -> Path:
    inner = PACKAGE.joinpath(*module.split(".")[1:])
    return inner / "__init__.py" if inner.is_dir() else inner.with_suffix(".py")


def homes(package: str) -> dict[str, str]:
    """In which module each name lives that a package hands on: read from its imports."""
    found: dict[str, str] = {}
    for node in ast.walk(_tree(package)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("saliency_cli"):
            found |= {alias.asname or alias.name: node.module for alias in node.names}
    return found


def _definition(name: str, module: str) -> ast.stmt:
    for node in _tree(module).body:
        if getattr(node, "name", None) == name:
            return node
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return node
        if isinstance(node, ast.ImportFrom) and node.module and any(name == each.name for each in node.names):
            return _definition(name, node.module)
    raise LookupError(f"{module} does not define {name}")


def python_page() -> str:
    """docs/python.md: every public name, from its docstring and its signature."""
    known = homes("saliency_cli")
    grouped = {name for names in GROUPS.values() for name in names}
    public = [name for name in saliency_cli.__all__ if not name.startswith("__")]
    groups = {**GROUPS, "Also": tuple(name for name in public if name not in grouped)}
    lines = [
        "# The Python API",
        _note("the docstrings of saliency_cli"),
        "Everything that the command line does is a call of one of these. Names are imported when they are first used: "
        "`import saliency_cli` is quick. Anything not listed here may change without notice.",
        '```python\nimport saliency_cli\n\nsaliency_cli.predict("clip.mp4", output="out.mp4")\n'
        'for frame in saliency_cli.saliency_frames("clip.mp4"):\n    print(frame.seconds, frame.saliency.shape)\n```',
    ]
    for title, names in groups.items():
        here = [name for name in names if name in public]
        if not here:
            continue
        lines.append(f"## {title}")
        for name in here:
            if name == "metrics":
                lines += _metrics()
            else:
                lines += _entry(name, known[name], "saliency_cli", level=3)
    return "\n\n".join(line for line in lines if line) + "\n"


def _metrics() -> list[str]:
    module = "saliency_cli.metrics"
    tree, known = _tree(module), homes(module)
    names = [str(name) for name in ast.literal_eval(_value_of("__all__", tree))]
    lines = ["### metrics", markdown(ast.get_docstring(tree) or "")]
    entries = [(name, _definition(name, known[name])) for name in names]
    for name, node in entries:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            lines += _entry(name, known[name], module, level=4)
    others = [name for name, node in entries if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return [*lines, f"Constants and types: {', '.join(f'`{name}`' for name in others)}."]


def _value_of(name: str, tree: ast.Module) -> ast.expr:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return node.value
    raise LookupError(name)


def _entry(name: str, module: str, shown: str, *, level: int) -> list[str]:
    node = _definition(name, module)
    title = f"{'#' * level} {name}"
    if isinstance(node, ast.FunctionDef):
        return [title, _fence(_signature(node, f"{shown}.{name}")), markdown(ast.get_docstring(node) or "")]
    if isinstance(node, ast.ClassDef):
        return [title, *_class(node, module, f"{shown}.{name}")]
    return [title, _fence(ast.unparse(node))]


def _fence(code: str) -> str:
    return f"```python\n{code}\n```"


def _class(node: ast.ClassDef, module: str, shown: str) -> list[str]:
    source = _path(module).read_text(encoding="utf-8").splitlines()
    fields, methods, start = [], [], None
    for each in node.body:
        if isinstance(each, ast.AnnAssign | ast.Assign) and not _target(each).startswith("_"):
            fields += source[each.lineno - 1 : each.end_lineno]
        elif isinstance(each, ast.FunctionDef) and each.name == "__init__":
            start = each
        elif isinstance(each, ast.FunctionDef) and not each.name.startswith("_"):
            methods.append(each)
    bases = ", ".join(map(ast.unparse, node.bases))
    if start is not None:
        head = _signature(start, shown, bound=True).removesuffix(" -> None")
    else:
        head = "\n".join([f"class {shown}({bases}):" if bases else f"class {shown}:", *(fields or ["    ..."])])
    lines = [_fence(head), markdown(ast.get_docstring(node) or "")]
    for each in methods:
        decorators = {ast.unparse(decorator) for decorator in each.decorator_list}
        if "property" in decorators:
            kind = ast.unparse(each.returns) if each.returns else ""
            code = f".{each.name}: {kind}"
        else:
            code = _signature(each, f".{each.name}", bound="staticmethod" not in decorators)
        lines += [_fence(code), markdown(ast.get_docstring(each) or "")]
    return lines


def _target(node: ast.AnnAssign | ast.Assign) -> str:
    return ast.unparse(node.target if isinstance(node, ast.AnnAssign) else node.targets[0])


def _signature(node: ast.FunctionDef, name: str, *, bound: bool = False) -> str:
    """A function's head; over several lines if one is too short. ``bound``: without its first argument."""
    given = node.args
    ordered = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(ordered) - len(given.defaults)) + list(given.defaults)
    parts = [_argument(each, value) for each, value in zip(ordered, defaults, strict=True)][1 if bound else 0 :]
    if given.vararg:
        parts.append(f"*{_argument(given.vararg, None)}")
    elif given.kwonlyargs:
        parts.append("*")
    parts += [_argument(each, value) for each, value in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    if given.kwarg:
        parts.append(f"**{_argument(given.kwarg, None)}")
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{name}({', '.join(parts)}){returns}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {part}," for part in parts), f"){returns}"])


def _argument(given: ast.arg, value: ast.expr | None) -> str:
    kind = f": {ast.unparse(given.annotation)}" if given.annotation else ""
    if value is None:
        return f"{given.arg}{kind}"
    default = (
        f'"{value.value}"' if isinstance(value, ast.Constant) and isinstance(value.value, str) else ast.unparse(value)
    )
    return f"{given.arg}{kind}{' = ' if kind else '='}{default}"


# -- writing


def stale(made: Mapping[Path, str]) -> list[Path]:
    """Pages that are missing or say something else, and pages of commands that are no more."""
    differing = [path for path, text in made.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    return differing + [path for path in sorted((DOCS / "commands").glob("*.md")) if path not in made]


def main(arguments: Sequence[str]) -> int:
    """Write what differs, or name it."""
    made = pages()
    differing = stale(made)
    for path in differing:
        print(path.relative_to(ROOT))
        if "--check" in arguments:
            continue
        if path in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[path], encoding="utf-8", newline="\n")
        else:
            path.unlink()
    return 1 if differing and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
