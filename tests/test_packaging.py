"""Versions that setup.cfg asks for, held against those that the tests have run with."""

import configparser

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

OWN = "keras-fpn"


@pytest.fixture
def required(request):
    """{name of a package: its requirement in setup.cfg}, extras included."""
    settings = configparser.ConfigParser(comment_prefixes="#")
    settings.read(request.config.rootpath / "setup.cfg")
    lines = settings["options"]["install_requires"].split("\n")
    lines += [line for extra in settings["options.extras_require"].values() for line in extra.split("\n")]
    found = [Requirement(line) for line in lines if line.strip()]
    return {canonicalize_name(one.name): one for one in found if one.name != OWN}


@pytest.fixture
def pinned(request):
    """`pinned("oldest")`: {name of a package: its version} of a file of constraints."""

    def read(name):
        text = (request.config.rootpath / "tests" / "constraints" / f"{name}.txt").read_text()
        lines = [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]
        return {canonicalize_name(one.name): Version(next(iter(one.specifier)).version) for one in lines}

    return read


def test_the_lowest_version_asked_for_is_the_oldest_that_is_tested(required, pinned):
    asked = {name: {(one.operator, Version(one.version)) for one in required[name].specifier} for name in required}
    oldest = pinned("oldest")
    assert {name: {(">=", version)} for name, version in oldest.items()} == {name: asked[name] for name in oldest}
    tools = {"pytest", "pytest-xdist", "hypothesis", "ruff", "mypy", "types-pyyaml", "build", "twine"}
    assert set(required) - set(oldest) == tools


def test_the_newest_versions_are_asked_for_too(required, pinned):
    newest = pinned("newest")
    assert set(newest) == set(required)
    for name, version in newest.items():
        assert required[name].specifier.contains(version), name
    assert all(newest[name] >= version for name, version in pinned("oldest").items())
