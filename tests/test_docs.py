"""README, CONTRIBUTING and docs/: commands that parse, links, paths and names that lead somewhere, nothing twice.

A command that is not to be parsed ends in `# not run here`.
"""

import collections
import importlib
import importlib.util
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest

import keras_fpn
from keras_fpn.commands.main import _build_parser
from keras_fpn.commands.parser import parse
from keras_fpn.config.loading import load_config
from keras_fpn.console.errors import UserError
from keras_fpn.export.request import ENDINGS
from keras_fpn.paper import rows, tables

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
UNMARKED = "# not run here"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)
# Modules that are run by `python -m`, and where their parser is.
PARSERS = {
    "keras_fpn.export.parity": "keras_fpn.export.parity_command",
    "keras_fpn.export.serving.client": "keras_fpn.export.serving.client",
}
FOLDERS = ("keras_fpn", "tests", "export", "benchmarks", "configs", "docs", ".ci")


def blocks(text, languages=None):
    """Contents of the fenced blocks of a page, of some languages or of all."""
    return [body for language, body in FENCED.findall(text) if languages is None or language in languages]


def lines(text, languages=None):
    """Command lines of the fenced blocks, those that go on after a backslash put together."""
    for body in blocks(text, languages):
        yield from filter(None, (line.strip() for line in re.sub(r"\\\n\s*", "", body).split("\n")))


def spans(text):
    """Texts in backticks outside of the fenced blocks, on one line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCED.sub("", text))]


def is_call(line):
    return re.match(r"keras-fpn\s|python -m keras_fpn\b", line) and not line.endswith(UNMARKED)


def words_of(line):
    """The words of a command, without comment and without what the shell does with its output."""
    words = shlex.split(line, comments=True)
    ends = [number for number, word in enumerate(words) if word in (">", "|", "&&", ";")]
    return words[: ends[0]] if ends else words


def check_call(line):
    """Parse a command line as the program would.

    Raises:
        UserError: the program would refuse it.
        ModuleNotFoundError: `python -m` of a module that there is not.
    """
    program, *words = words_of(line)
    module = "keras_fpn" if program == "keras-fpn" else words[1]
    words = words if program == "keras-fpn" else words[2:]
    if module == "keras_fpn":
        return check_command(words)
    if importlib.util.find_spec(module) is None:
        raise ModuleNotFoundError(module)
    if module in PARSERS:
        importlib.import_module(PARSERS[module])._parser().parse_args(words)


def check_command(words):
    arguments = parse(_build_parser(), words)
    for config in configurations(words[0], arguments):
        load_config(config, arguments.overrides)
    if words[0] == "export" and arguments.format not in ("saved_model", *ENDINGS):
        raise UserError(f"--format {arguments.format}")


def configurations(command, arguments):
    """Names of the shipped configurations that a command would read; a file or folder is the reader's own."""
    named = {
        "train": ("config",), "demo": ("config",), "convert": ("config",), "benchmark": ("model", "against"),
    }.get(command, ())  # fmt: skip
    found = [getattr(arguments, name) for name in named]
    if command == "paper":
        tables.table(arguments.table)
        found = [recipe.config for recipe in rows.RECIPES[arguments.table].values()]
    return [name for name in found if name and not re.match(r"runs/|.*\.(yaml|keras)$", name)]


CALLS = [(name, line) for name, text in TEXTS.items() for line in lines(text) if is_call(line)]


@pytest.mark.parametrize(("page", "line"), CALLS, ids=[f"{name}-{line[:60]}" for name, line in CALLS])
def test_a_command_would_be_taken(page, line):
    check_call(line)


def test_the_pages_have_commands():
    pages = collections.Counter(name for name, _ in CALLS)
    assert {"README.md", "docs/export.md", "docs/extending.md", "docs/paper.md", "docs/serving.md"} <= set(pages)


@pytest.mark.parametrize(
    "line",
    [
        "keras-fpn trian shapes --data DIR",
        "keras-fpn train shapes --date DIR",
        "keras-fpn train shape --data DIR",
        "keras-fpn train shapes --set training.stepz=3 # a comment",
        "keras-fpn train shapes --set model.pyramid.name=fpm",
        "keras-fpn benchmark paper/table3_c --against paper/table3_z",
        "keras-fpn export runs/demo --out shapes.onnx",
        "keras-fpn export runs/demo --format onx --out shapes.onnx",
        "keras-fpn paper table4",
        "keras-fpn paper table1 --set model.rpn.chanels=3",
        "python -m keras_fpn detcet runs/demo photo.jpg",
        "python -m keras_fpn.export.nothing FILE",
        "python -m keras_fpn.export.parity runs/demo --annotation F",
        "python -m keras_fpn.export.serving.client",
    ],
)
def test_a_wrong_command_is_noticed(line):
    assert is_call(line)
    with pytest.raises((UserError, ModuleNotFoundError)):
        check_call(line)


def test_lines_are_put_together_and_cut():
    text = "```bash\nkeras-fpn train shapes \\\n    --data DIR > log  # it trains\nkeras-fpn x # not run here\n```\n"
    assert [line for line in lines(text) if is_call(line)] == ["keras-fpn train shapes --data DIR > log  # it trains"]
    assert words_of("keras-fpn train shapes > log") == ["keras-fpn", "train", "shapes"]


def wrong_mentions(text):
    """Commands in running text, which may be part of a call: sub-commands, options and modules that there are not."""
    for span in spans(text):
        program, *words = span.split()
        if span.startswith("python -m keras_fpn") and importlib.util.find_spec(words[1]) is None:
            yield span
        if program != "keras-fpn":
            continue
        command = _build_parser()
        while command.commands and words and not words[0].startswith("-"):
            command = command.commands.get(words.pop(0).split("|")[0])
            if command is None:
                yield span
                break
        else:
            if any(word.startswith("--") and word.split("=")[0] not in command.options() for word in words):
                yield span


@pytest.mark.parametrize("page", TEXTS)
def test_a_command_that_is_mentioned_exists(page):
    assert list(wrong_mentions(TEXTS[page])) == []


def test_a_wrong_mention_is_noticed():
    text = "`keras-fpn paint`, `keras-fpn data`, `keras-fpn train --weights`, `keras-fpn train --weight FILE`"
    assert list(wrong_mentions(text)) == ["keras-fpn paint", "keras-fpn train --weight FILE"]


def repeated(texts):
    """Command lines that stand in more than one place, spaces and comments apart."""
    count = collections.Counter(
        " ".join(re.sub(r"\s#.*", "", line).split()) for text in texts for line in lines(text, ("", "bash", "sh"))
    )
    return [line for line, times in count.items() if times > 1]


def test_no_command_stands_twice():
    assert repeated(TEXTS.values()) == []


def test_a_repeated_command_is_noticed():
    texts = ["```bash\nmake demo   # five minutes\nmake test\n```\n", "```\nmake  demo\n```\n```text\nmake test\n```\n"]
    assert repeated(texts) == ["make demo"]


def dead_links(text, page):
    """Targets of relative links and pictures that are not there."""
    targets = re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", text))
    local = (target.split("#")[0] for target in targets if not re.match(r"[a-z]+:", target))
    return [target for target in local if target and not (page.parent / target).exists()]


def missing_paths(text):
    """Paths of this repository, in backticks or in commands, that are not there; `*` stands for any name."""
    pattern = rf"(?<![\w./-])(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./*-]*"
    written = [*spans(text), *lines(text, ("", "bash", "sh"))]
    paths = [path.rstrip(".") for piece in written for path in re.findall(pattern, piece)]
    return [path for path in paths if not any(ROOT.glob(path.rstrip("/")))]


@pytest.mark.parametrize("page", TEXTS)
def test_links_and_paths_lead_somewhere(page):
    assert dead_links(TEXTS[page], ROOT / page) == []
    assert missing_paths(TEXTS[page]) == []


def test_dead_links_and_paths_are_noticed():
    page = ROOT / "docs" / "design.md"
    text = "[one](settings.md), [two](../README.md#export), ![three](none.jpg), [4](https://x.org/a.md), [5](no.md#a)"
    assert dead_links(text, page) == ["none.jpg", "no.md"]
    text = "`keras_fpn/necks/`, `keras_fpn/pyramids/fpn.py`, `tests/golden/*.npz`, `runs/export/x`, `tests/none.py`"
    assert missing_paths(text) == ["keras_fpn/pyramids/fpn.py", "tests/none.py"]


def unknown_names(text):
    """`keras_fpn.a.b` anywhere on a page that is neither a module nor something in one."""
    return [name for name in sorted(set(re.findall(r"\bkeras_fpn(?:\.[A-Za-z_]\w*)+", text))) if not _resolves(name)]


def _resolves(name):
    if name.endswith((".json", ".py")):  # a file's
        return True
    module, *rest = name.split(".")
    found = importlib.import_module(module)
    for part in rest:
        module = f"{module}.{part}"
        if hasattr(found, part):
            found = getattr(found, part)
        elif isinstance(found, type(keras_fpn)) and importlib.util.find_spec(module):
            found = importlib.import_module(module)
        else:
            return False
    return True


def unknown_settings(text):
    """Keys such as `training.steps` and `model.rpn.channels`, in backticks, that no configuration has."""
    pattern = r"(?<![\w./])(?:model\.[a-z_]+|data|training|four_step)(?:\.[a-z_]+)+(?![\w(/])"
    return [key for span in spans(text) for key in re.findall(pattern, span) if key not in SETTINGS]


def _settings(page):
    """The keys of the page of settings, which a test of the configurations holds against these."""
    keys = set()
    for section in re.split(r"^##+ ", page, flags=re.M)[1:]:
        names = re.match(r"[\w., ]+", section)[0].replace(" ", "").split(",")
        keys |= set(names) | {f"{name}.{key}" for name in names for key in re.findall(r"^\| `(\w+)` \|", section, re.M)}
    return keys


SETTINGS = _settings(TEXTS["docs/settings.md"])


@pytest.mark.parametrize("page", TEXTS)
def test_names_and_settings_exist(page):
    assert unknown_names(TEXTS[page]) == []
    if page != "docs/settings.md":  # it names modules from within the package
        assert unknown_settings(TEXTS[page]) == []


def test_unknown_names_and_settings_are_noticed():
    text = "keras_fpn.inference.detect, keras_fpn.detect, keras_fpn.necks.fpn, assets/keras_fpn.json, keras_fpn.RPM"
    assert unknown_names(text) == ["keras_fpn.RPM", "keras_fpn.inference.detect"]
    text = "`model.pyramid.name=fpn`, `data.val.images`, `training.step=3`, `model.necks.name`, `model.keras`"
    assert unknown_settings(text) == ["training.step", "model.necks.name"]


def test_python_of_the_readme_compiles():
    (code,) = blocks(TEXTS["README.md"], ("python",))
    compile(code, "README.md", "exec")


def test_the_readme_fits_a_scroll():
    assert TEXTS["README.md"].count("\n") <= 170


def test_design_lists_the_public_names():
    section = TEXTS["docs/design.md"].partition("\n## Public names\n")[2]
    listed = {}
    for names, path in re.findall(r"^\| (`[^|]+`) \| `([^`]+)` \|", section, re.M):
        listed |= dict.fromkeys(re.findall(r"`(\w+)`", names), path)
    homes = {**keras_fpn._PUBLIC, **keras_fpn._MODULES, "__version__": "keras_fpn"}
    assert set(listed) == set(keras_fpn.__all__)
    for name, path in listed.items():
        module = "keras_fpn." * path.startswith("export/") + path.removesuffix(".py").rstrip("/").replace("/", ".")
        assert module.removesuffix(".__init__") == homes[name], name


def test_design_lists_the_rooms_in_order():
    section = TEXTS["docs/design.md"].partition("\n## The rooms\n")[2].partition("\n## ")[0]
    listed = [path.removeprefix("keras_fpn/") for path in re.findall(r"^\| `([\w/]+)/` \|", section, re.M)]
    assert listed == re.findall(r"^    (\w+) ", keras_fpn.__doc__, re.M)


def test_make_help_names_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)", makefile, re.M)[1].split()
    assert [target for target in targets if not re.search(rf"^{target}:.* ## \w", makefile, re.M)] == []
    mentioned = {target for text in TEXTS.values() for target in re.findall(r"`make ([\w-]+)", text)}
    assert mentioned <= set(targets)
    if shutil.which("make"):
        printed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert [line.split()[1] for line in printed.splitlines() if line.startswith("make ")] == targets
