"""Going on with the settings and the data that a run began with, or saying how they differ.

began.json in the run folder holds every setting, and the SHA-256 of the annotation files and of given proposals. Where
the data lies may change, and what has no part in the result; anything else is named and refused unless it is accepted.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_fpn.config.loading import Config, load_config, load_run_config, load_whole_run_config
from keras_fpn.console.errors import UserError
from keras_fpn.console.files import read_json, write_json, write_text
from keras_fpn.data import proposal_files
from keras_fpn.data.formats import format_of
from keras_fpn.data.sources import Names
from keras_fpn.training.named_files import with_data

NAME = "began.json"
# Settings that have no part in what comes out; the files of the data are compared by what is in them.
_NO_MATTER = ("training.checkpoint_minutes", "data.cache") + tuple(
    f"data.{name}.{key}" for name in ("train", "val") for key in ("annotations", "images", "proposals")
)


def record(run_dir: Path, config: Config) -> None:
    """Keep what a run begins with."""
    write_json(run_dir / NAME, {"version": 1, "config": _plain(config), "sha256": _digests(config)})


def check_begun(run_dir: Path) -> None:
    """Refuse a folder that no run began in.

    Raises:
        UserError: it is not there, or has no config.yaml.
    """
    if not (run_dir / "config.yaml").is_file():
        raise UserError(f"{run_dir}: no run to resume, config.yaml is missing; train writes it when a run begins")


def check_finished(
    run_dir: Path, data_dir: Names | None, overrides: Sequence[str], accept_changes: bool
) -> None:
    """Refuse a finished run with other settings, or other data where some are given: nothing would be done with them.

    Raises:
        UserError: settings or data have changed since it began.
    """
    if data_dir or overrides:
        config_to_go_on_with(run_dir, data_dir=data_dir, overrides=overrides, accept_changes=accept_changes)
        return
    config, began = load_run_config(run_dir / "config.yaml"), _read(run_dir / NAME)
    changes = [] if began is None or accept_changes else list(_changed_settings(began, config))
    if changes:
        raise UserError(
            f"{run_dir}: is finished, and changed since it began: {'; '.join(changes)}; put that back, or start a new"
            f" run: keras-fpn train {run_dir / 'config.yaml'} --out RUN"
        )


def config_to_go_on_with(
    run_dir: Path,
    *,
    data_dir: Names | None = None,
    overrides: Sequence[str] = (),
    accept_changes: bool = False,
    is_new: bool = False,
) -> Config:
    """Return the configuration of a run that goes on, checked against what it began with.

    Args:
        data_dir, overrides: where its data lies now; config.yaml is written anew with it.
        accept_changes: go on where settings or data have changed.
        is_new: nothing is trained yet, so nothing can differ.

    Raises:
        UserError: settings or data have changed since the run began.
    """
    file = run_dir / "config.yaml"
    config = load_whole_run_config(file)
    others = [item for item in overrides if not item.startswith("data.")]
    if others:
        raise UserError(
            f"--set {others[0]} does not go with --resume: a run goes on with the settings it began with; only where"
            " its data lies may be set, data.train.images=DIR"
        )
    if data_dir or overrides:
        config = with_data(load_config(file, overrides) if overrides else config, data_dir)
    if not is_new:
        _compare(run_dir, config, accept_changes)
    if data_dir or overrides:
        write_text(file, config.to_yaml())
    return config


def _compare(run_dir, config, accept_changes):
    began = _read(run_dir / NAME)
    if began is None:  # of an earlier version of this package
        record(run_dir, config)
        return
    changes = list(_changes(began, config))
    if changes and not accept_changes:
        raise UserError(
            f"{run_dir}: changed since the run began: {'; '.join(changes)}; put that back, or go on in spite of it with"
            " --accept-changes"
        )
    if changes:
        print(f"accepted: {'; '.join(changes)}", flush=True)
        record(run_dir, config)


def _read(file):
    if not file.is_file():
        return None
    began = read_json(file, "remove it, and nothing is compared")
    if not isinstance(began, dict) or not all(isinstance(began.get(key), dict) for key in ("config", "sha256")):
        raise UserError(f"{file}: not what a run began with; remove it, and nothing is compared")
    return began


def _changes(began: Mapping[str, Any], config: Config) -> Iterator[str]:
    yield from _changed_settings(began, config)
    yield from _changed_data(began, config)


def _changed_settings(began, config):
    old, new = _flat(began["config"]), _flat(_plain(config))
    for key, before in old.items():  # a key that is not there is of another version
        if key not in _NO_MATTER and before != new.get(key):
            now = json.dumps(new[key]) if key in new else "not there"
            yield f"{key} was {json.dumps(before)} and is {now}"


def _changed_data(began, config):
    digests = _digests(config)
    for key, before in began["sha256"].items():
        if digests.get(key) != before:
            section, name, kind = key.split(".")
            path = getattr(getattr(getattr(config, section), name), kind)
            yield f"{path} ({key}) has other content, sha256 was {before[:12]} and is {str(digests.get(key))[:12]}"


def _plain(config):
    return json.loads(json.dumps(config.model_dump()))


def _flat(tree, prefix=""):
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _digests(config):
    digests = {}
    for name in ("train", "val"):
        split = getattr(config.data, name)
        digests[f"data.{name}.annotations"] = _sha256_of_all(split.sources, f"data.{name}.annotations")
        if split.proposals is not None:
            digests[f"data.{name}.proposals"] = proposal_files.sha256(split.proposals)
    return digests


def _sha256_of_all(sources, key):
    """That of the annotations' one file, or of the list of those of all files."""
    files = [file for half in sources for file in format_of(half.annotations).files(half.annotations)]
    digests = [_sha256(file, key) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _sha256(path, key):
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file, and the run needs it ({key}); if it was moved, give --data DIR or --set {key}=PATH"
        ) from None
