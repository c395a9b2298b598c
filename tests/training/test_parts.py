"""Backbones and pyramids by the commands: trained from a configuration, measured, reported."""

import json

import pytest

from keras_fpn.commands import main as cli
from keras_fpn.data.shapes import write_shapes

PARTS = {
    "swin_t": ["model.backbone.name=swin_t", "model.backbone.drop_path=0.2"],
    "convnext_tiny": ["model.backbone.name=convnext_tiny", "model.backbone.freeze_at=2"],
    "vit_b": ["model.backbone.name=vit_b", "model.pyramid.name=simple_pyramid"],
    "nas_fpn": ["model.pyramid.name=nas_fpn", "model.pyramid.levels=[P2,P3,P4,P5,P6]", "model.pyramid.repeats=1"],
    "bifpn": ["model.pyramid.name=bifpn", "model.pyramid.repeats=1", "model.pyramid.norm=group_norm"],
}
SHORT = ["training.steps=2", "training.steps_per_epoch=2", "training.warmup_steps=0", "data.batch_size=2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    write_shapes(folder, num_train=4, num_val=2, size=64)
    return folder


@pytest.mark.parametrize(
    "part", ["swin_t", *(pytest.param(name, marks=pytest.mark.slow) for name in PARTS if name != "swin_t")]
)
def test_a_run_of_each(part, data, tmp_path, capsys):
    run = tmp_path / "run"
    assert cli.main(["train", "tiny", "--data", str(data), "--out", str(run), "--set", *SHORT, *PARTS[part]]) == 0
    told = capsys.readouterr().out
    # Half of a network with random weights is frozen, which is told with the settings that the network has.
    assert ("use --set model.backbone.freeze_at=0" in told) == (part == "convnext_tiny")
    page = (run / "report.html").read_text()
    assert PARTS[part][0].partition("=")[2] in page or "backbone" not in PARTS[part][0]
    assert cli.main(["evaluate", str(run), "--metrics", str(tmp_path / "metrics.json")]) == 0
    assert "AP" in json.loads((tmp_path / "metrics.json").read_text())
