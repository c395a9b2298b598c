"""The report: one file, nothing from outside, every number in its place."""

import base64
import configparser
import fnmatch
import html
import io
import re
import subprocess
import sys
import warnings
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.metrics import DETECTIONS, PROPOSALS
from keras_fpn.reporting import plots
from keras_fpn.reporting.report import Link, Section, add_section, environment_facts, write_page, write_report

FIRST_COLOR = plots._COLORS[0]
VOID = {"meta", "img", "br"}
CLOSED_AT_ONCE = {"path", "use", "rect", "g"}  # SVG may, HTML may not


class Balanced(HTMLParser):
    """Fails on tags that are not closed; keeps the text."""

    def __init__(self):
        super().__init__()
        self.open, self.text = [], ""

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in VOID | CLOSED_AT_ONCE

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + "\n"


def curve(scale):
    precision = (scale * (1 - np.linspace(0, 1, 101) ** 3)).tolist()
    return {"precision50": precision, "precision": precision, "AP50": 0.77 * scale, "AP": 0.5 * scale}


@pytest.fixture
def content():
    metrics = {name: (index + 1) / 1000 for index, name in enumerate((*DETECTIONS.metrics, *PROPOSALS.metrics))}
    metrics |= {"AP/cup & saucer": 0.765, "AP/plate": -1.0, "APl": None, "ARl": float("nan")}
    history = [
        {"epoch": "1", "loss": "2.5", "val_loss": "3.0", "learning_rate": "0.01", "val_AP": "-1", "x": ""},
        {"epoch": "2", "loss": "1.5", "val_loss": "2.0", "learning_rate": "0.001", "val_AP": "0.4"},
    ]
    classes = {"cup & saucer": curve(0.9) | {"best_f1": 0.871, "best_threshold": 0.456}}
    curves = {"recall": np.linspace(0, 1, 101).tolist(), "mean": curve(0.9), "classes": classes}
    picture = Image.new("RGB", (60, 40), (200, 30, 30))
    return {
        "title": "Cups <1>",
        "metrics": metrics,
        "history": history,
        "curves": {"detections": curves},
        "pictures": [("a.jpg", picture, np.zeros((40, 60, 3), np.uint8)), (picture, picture)],
        "facts": {"duration": "5 minutes", "command": "keras-fpn demo --out 'x y'"},
    }


def read(path):
    page = path.read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    return page, parser.text


def test_page_is_self_contained(content, tmp_path):
    page, _ = read(write_report(tmp_path / "new" / "report.html", **content))
    assert not re.search(r"https?:|<script|<link|<iframe|url\((?!#)|@import|xmlns", page)
    sources = re.findall(r'src="([^"]{0,40})', page)
    assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)', page))
    assert len(sources) == 4 and all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]


def test_page_holds_every_number(content, tmp_path):
    page, text = read(write_report(tmp_path / "report.html", **content))
    undefined = ("APl", "ARl")
    for name in (*DETECTIONS.metrics, *PROPOSALS.metrics):
        if name not in undefined:
            assert f"{content['metrics'][name]:.3f}\n" in text, name
    assert "nan" not in text and "None" not in text and "-1.000" not in text
    assert "0.765\n" in text and "0.871\n" in text and "0.456\n" in text and "\u2013" in text
    for heading in ("Loss", "Learning rate", "Each class at IoU 0.5", "Mean over the classes"):
        assert f'aria-label="{heading}' in page
    for word in ("cup & saucer, AP50 0.693", "training", "validation", "5 minutes", "'x y'", "Cups <1>"):
        assert word in text


def test_pictures_survive(content, tmp_path):
    page, text = read(write_report(tmp_path / "report.html", **content))
    encoded = re.search(r"base64,([^\"]+)", page).group(1)
    picture = Image.open(io.BytesIO(base64.b64decode(encoded)))
    assert picture.size == (60, 40) and picture.getpixel((5, 5))[0] > 180
    assert "a.jpg: ground truth" in text and "image 2: detections" in text


def test_little_content_and_many_classes_are_fine(tmp_path):
    read(write_report(tmp_path / "least.html", title="t", metrics={}, history=[]))
    classes = {f"class {i}": curve(i / 80) | {"best_f1": 0.5, "best_threshold": 0.5} for i in range(80)}
    curves = {"detections": {"recall": np.linspace(0, 1, 101).tolist(), "mean": curve(0.5), "classes": classes}}
    rows = [{"epoch": 1, "loss": 0.0, "learning_rate": 0.0}]
    page, text = read(write_report(tmp_path / "many.html", title="t", metrics={"AP": 0.0}, history=rows, curves=curves))
    assert "6 best and 6 worst named of 80" in text
    assert len(re.findall(r"\nclass \d+, AP50 0\.\d{3}\n", text)) == 12
    assert page.count("stroke-opacity: 0.3; stroke-width: 0.8") == 68  # the pale ones


def test_learning_rate_of_every_step_shows_the_warm_up(tmp_path):
    steps, values = np.arange(5000), np.minimum(np.arange(5000) / 100, 1.0) * 0.02
    path = write_report(
        tmp_path / "r.html", title="t", metrics={}, history=[], learning_rate=(list(steps), list(values))
    )
    page, text = read(path)
    assert "step" in text and 'aria-label="Learning rate"' in page and len(page) < 40_000
    (line,) = re.findall(rf'<path d="([^"]*)"[^>]*stroke: {FIRST_COLOR}', page)
    points = np.array(re.findall(r"[ML] (\S+) (\S+)", line), dtype=float)  # SVG's y points down
    (left, bottom), (right, top) = points[0], points[-1]
    warm = points[:, 0] > left + 0.021 * (right - left)
    np.testing.assert_allclose(points[warm, 1], top, atol=0.2)
    assert bottom - top > 100 and np.isclose(points[~warm, 1], bottom, atol=0.2).any()


def test_charts_follow_the_theme_and_share_no_id(content, tmp_path):
    page, _ = read(write_report(tmp_path / "report.html", **content))
    charts = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(charts) == 5
    ids = [name for chart in charts for name in re.findall(r' id="([^"]*)"', chart)]
    assert len(set(ids)) == len(ids) >= len(charts)
    for chart in charts:
        used = set(re.findall(r'(?:url\(|href=")#(\w+)', chart))
        assert used and used <= set(re.findall(r' id="([^"]*)"', chart))
        # Black and white would vanish in one of the themes; matplotlib leaves black fills out.
        colors = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", chart))
        assert colors <= {"none", "currentColor", *plots._COLORS} and "currentColor" in colors
        assert all("fill: currentColor" in text for text in re.findall(r"<text[^>]*>", chart))
        assert "<style" not in chart and "<metadata" not in chart


def test_a_loss_and_a_recall_of_a_stage_from_outside_are_drawn_under_their_names():
    rows = [{"epoch": 1, "rpn_box_loss": 0.5, "hue_head_loss": 0.2, "val_hue_head_loss": 0.3, "hue_recall": 0.1}]
    (first, parts), (second, recalls) = plots.training_charts(rows)
    assert first.startswith("Parts of the loss") and ">RPN boxes<" in parts and ">hue head<" in parts
    assert second.startswith("Recall of the sampled") and ">hue<" in recalls


def test_validation_is_dashed_in_the_colour_of_its_sister():
    row = {"epoch": 1, "rpn_box_loss": 0.5, "val_rpn_box_loss": 0.6}
    ((title, chart),) = plots.training_charts([row, row | {"epoch": 2}])
    assert title.startswith("Parts of the loss")
    drawn = [style for style in re.findall(r'<path[^>]*style="([^"]*)"', chart) if "stroke-width: 1.6" in style]
    lines = [style for style in drawn if FIRST_COLOR in style]
    assert len(lines) == 3 == len(drawn)  # two curves and the legend's line
    assert sum("stroke-dasharray" in style for style in lines) == 1
    assert ">RPN boxes<" in chart and ">RPN boxes, validation<" not in chart


def test_class_names_are_text_whatever_they_hold():
    names = ["$5 and $6", "_hidden", "<b> & co", "杯子", "a name " * 12]
    curves = {"recall": np.linspace(0, 1, 101).tolist(), "mean": curve(0.5)}
    curves["classes"] = {name: curve(0.5) for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (_, chart), _ = plots.precision_recall_charts(curves)
    shown = [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", chart)]
    assert {f"{name}, AP50 0.385" for name in names[:4]} <= set(shown)
    (cut,) = (text for text in shown if "…" in text)
    assert cut.startswith("a name a name") and cut.endswith(", AP50 0.385") and len(cut) < 60


def test_same_numbers_give_the_same_bytes_and_matplotlib_stays_as_it_was():
    import matplotlib

    series = {"training": [(1, 3.0), (2, 2.0)]}
    once = plots.line_chart("Loss", series, "epoch")
    with matplotlib.rc_context({"font.size": 30, "axes.spines.left": False, "xtick.minor.visible": True}):
        before = dict(matplotlib.rcParams)
        assert plots.line_chart("Loss", series, "epoch") == once
        assert dict(matplotlib.rcParams) == before
    assert plots.line_chart("Other", series, "epoch") != once


def test_importing_the_report_leaves_matplotlib_and_tensorflow_for_later():
    code = "import sys, keras_fpn.reporting.report; print({'matplotlib', 'tensorflow'} & set(sys.modules) or '')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_wheel_carries_the_templates(request):
    setup = configparser.ConfigParser()
    setup.read(request.config.rootpath / "setup.cfg")
    pattern = setup["options.package_data"]["keras_fpn.reporting"]
    files = {file.name for file in (request.config.rootpath / "keras_fpn" / "reporting").glob("*.*")}
    templates = {name for name in files if not name.endswith(".py")}
    assert templates == {"report.html.j2", "parts.html.j2", "data_check.html.j2"} == set(fnmatch.filter(files, pattern))


HOSTILE = """<script>'&"> {{ 7 * 7 }} {% raw %} <!-- added sections end here --></section>"""


def test_texts_are_escaped_wherever_they_stand(content, tmp_path):
    picture = content["pictures"][0][1]
    content |= {"title": HOSTILE, "subtitle": HOSTILE, "pictures": [(HOSTILE, picture, picture)]}
    content["metrics"] |= {f"AP/{HOSTILE}": 0.5, HOSTILE: 0.5}
    content["facts"] = {HOSTILE: HOSTILE, "command": HOSTILE}
    path = write_report(tmp_path / "report.html", **content)
    chart = plots.line_chart(HOSTILE, {"training": [(1, 3.0), (2, 2.0)]}, "epoch")
    row = (HOSTILE, Link(HOSTILE, HOSTILE))
    section = Section(
        HOSTILE, HOSTILE, (HOSTILE, ""), (row,), (HOSTILE,), ((HOSTILE, picture),), ((HOSTILE, chart),)
    )  # fmt: skip
    for _ in range(2):
        add_section(path, section)
    page, text = read(path)
    assert "<script" not in page and page.count("<!--") == 1 == page.count("</section>")
    of_page, of_section = 2 + 1 + 2 + 2 + 3, 8  # title, subtitle, metrics, pictures, facts
    assert text.count(HOSTILE) == of_page + of_section
    attributes = [html.unescape(value) for value in re.findall(r'(?:alt|href|aria-label)="([^"]*)"', page)]
    captions = [f"{HOSTILE}: ground truth", f"{HOSTILE}: detections"]
    assert [value for value in attributes if "script" in value] == [*captions, HOSTILE, HOSTILE, HOSTILE]


def test_a_page_of_sections_is_added_to_like_a_report(tmp_path):
    row = ("two\nlines", Link("step1/report.html", "step1"), 0.25, None, "")
    sections = (Section(name, head=("",) * 5, rows=(row,)) for name in ("First", "Second"))
    path = write_page(tmp_path / "page.html", title="t", subtitle="s", sections=sections, facts={"x": {"a": 1, "b": 2}})
    add_section(path, Section("First", "anew"))
    page, text = read(path)
    link = '<a href="step1/report.html">step1</a>'
    assert f"<td>two<br>lines</td><td>{link}</td><td>0.250</td><td>&ndash;</td><td></td>" in page
    assert text.index("Second") < text.index("anew") < text.index("Facts") < text.index("a 1, b 2")
    assert text.count("First") == 1 and page.count("<table") == 2


def test_old_report_survives_a_failure(content, tmp_path):
    path = write_report(tmp_path / "report.html", **content)
    before = path.read_bytes()
    content["pictures"] = [("broken", tmp_path / "absent.jpg", tmp_path / "absent.jpg")]
    with pytest.raises(FileNotFoundError):
        write_report(path, **content)
    assert path.read_bytes() == before


def test_environment_is_told():
    facts = environment_facts()
    assert set(facts) == {"device", "command", "versions", "date"}
    assert "keras 3" in facts["versions"] and "cores" in facts["device"]


class TestSections:
    """`add_section`: what comes after the training, on the same page."""

    @pytest.fixture
    def path(self, content, tmp_path):
        return write_report(tmp_path / "report.html", **content)

    def test_it_stands_between_the_pictures_and_the_facts(self, path):
        before = path.read_text(encoding="utf-8")
        picture = Image.new("RGB", (30, 20), (20, 180, 40))
        section = Section(
            "Exports & more", "One <answer>.", ("format", "AP"), (("tf<lite", 0.5), ("onnx", None)), ("a note",),
            (("Keras: 3 found", picture),),
        )  # fmt: skip
        add_section(path, section)
        page, text = read(path)
        assert page.index("<h2>Pictures</h2>") < page.index("Exports &amp; more") < page.index("<h2>Facts</h2>")
        for words in ("One <answer>.", "tf<lite", "0.500\n", "\u2013\n", "a note", "Keras: 3 found"):
            assert words in text
        encoded = re.findall(r"base64,([^\"]+)", page)[-1]
        assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == (30, 20)
        added = page[page.index('<section id="exports-more">') : page.index("</section>") + len("</section>\n")]
        assert page.replace(added, "") == before

    def test_the_same_heading_replaces_and_another_follows(self, path):
        for heading, text in (("Exports", "the old"), ("Exports", "the new"), ("Later", "the last")):
            add_section(path, Section(heading, text))
        _, text = read(path)
        assert "the old" not in text and text.index("the new") < text.index("the last")
        assert text.count("Exports") == 1

    def test_a_page_of_something_else_is_refused(self, tmp_path):
        with pytest.raises(UserError, match=r"report\.html: no such report"):
            add_section(tmp_path / "report.html", Section("Exports"))
        (tmp_path / "report.html").write_text("<html></html>")
        with pytest.raises(UserError, match="no report of this version"):
            add_section(tmp_path / "report.html", Section("Exports"))
        assert (tmp_path / "report.html").read_text() == "<html></html>"
