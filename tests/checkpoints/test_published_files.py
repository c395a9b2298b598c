"""The table of published files: each as its source has it, each found by name."""

import json

import pytest

from keras_fpn.checkpoints import published_files
from keras_fpn.checkpoints.published_files import FILES, Digest
from keras_fpn.checkpoints.weights_file import weights_file
from keras_fpn.console.errors import UserError

# What the sources call their figures, and how they stand here.
FIGURES = {
    "box_map": "box AP {}", "mask_map": "mask AP {}", "kp_map": "keypoint AP {}", "acc@1": "top-1 {:.3f}",
    "box AP": "box AP {}", "mask AP": "mask AP {}", "kp. AP": "keypoint AP {}", "prop. AR": "AR1000 {}",
}  # fmt: skip


@pytest.fixture(scope="module")
def sources(request):
    """`{source: {url: {"reached": ..., "mebibytes": ...}}}`, from the sources (golden/make_published_files.py)."""
    return json.loads((request.path.parents[1] / "golden" / "published_files.json").read_text())


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_as_its_source_has_it(sources, name):
    file = FILES[name]
    theirs = sources[file.source][file.url]
    reached = {key: value for key, value in theirs["reached"].items() if key in FIGURES}
    assert file.reached == ", ".join(FIGURES[key].format(value) for key, value in reached.items())
    if file.source == "torchvision":
        assert (file.digest.algorithm, len(file.digest.digits)) == ("sha256", 8)
        assert file.file_name.endswith(f"-{file.digest.digits}.pth")
        assert file.megabytes == pytest.approx(theirs["mebibytes"] * 2**20 / 1e6)
    else:  # "any model on this page contains its md5 prefix in its file name", its MODEL_ZOO.md says
        assert (file.digest.algorithm, len(file.digest.digits)) == ("md5", 6)
        assert file.file_name == f"model_final_{file.digest.digits}.pkl" and file.megabytes is None


def test_no_file_of_theirs_is_forgotten_and_none_is_there_twice(sources):
    theirs = {url for files in sources.values() for url in files}
    ours = [file.url for file in FILES.values()]
    assert len(set(ours)) == len(ours) == 59
    assert [url for url in theirs - set(ours)] == [url for url in theirs if "/keypoint_rcnn_R_101_FPN_3x/" in url]
    assert len({file.file_name for file in FILES.values()}) == len(ours)  # they lie in one folder


@pytest.mark.parametrize(
    ("algorithm", "digits"),
    # RFC 1321 and FIPS 180-2 have these of "abc".
    [("md5", "900150"), ("sha256", "ba7816bf")],
)
def test_a_digest_is_that_of_the_content(tmp_path, algorithm, digits):
    (tmp_path / "file").write_bytes(b"abc")
    assert Digest(algorithm, digits).of(tmp_path / "file") == Digest(algorithm, digits)
    assert Digest(algorithm, digits[:3]).of(tmp_path / "file") == Digest(algorithm, digits[:3])
    (tmp_path / "file").write_bytes(b"abd")
    assert Digest(algorithm, digits).of(tmp_path / "file") != Digest(algorithm, digits)


def test_a_path_that_exists_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert published_files.find("resnet50") is FILES["resnet50"]
    (tmp_path / "resnet50").mkdir()
    (tmp_path / "resnet50" / "model.keras").write_bytes(b"")
    assert published_files.find("resnet50") is None
    assert weights_file("resnet50") == tmp_path / "resnet50" / "model.keras"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("fasterrcnn_resnet50_fpn_v3", "fasterrcnn_resnet50_fpn_v2"),
        ("faster_rcnn_r_50_fpn_3x", "faster_rcnn_R_50_FPN_3x"),
        ("folder/fasterrcnn_resnet50_fpn_coco-258fb6c6.pth", "fasterrcnn_resnet50_fpn"),  # the name of its file
    ],
)
def test_an_unknown_name_gets_the_nearest(name, nearest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"no such weights; give .*; did you mean the published '{nearest}'\\?"):
        weights_file(name)


def test_what_is_near_no_name_is_told_where_they_are_listed():
    with pytest.raises(UserError, match="mine.keras: no such weights; give .*; keras-fpn weights lists the names"):
        weights_file("mine.keras")
