"""The features that are read of a TFDS data set: those that are named, known, or the only ones that can be meant."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data.tfds.keys import Keys
from keras_fpn.data.tfds.known import Known
from keras_fpn.data.tfds.package import package

Path = tuple[str, ...]  # of keys, from the outermost

# What most data sets call a feature, where nothing else says.
_USUAL = {
    "image_id_key": ("image/id", "image_id"),
    "file_name_key": ("image/filename", "image/file_name", "filename", "file_name"),
    "object_id_key": ("id",),
    "area_key": ("area",),
    "ignore_key": ("is_crowd",),
}
_WHAT = {"image_id_key": "a whole number", "file_name_key": "a Text"}


@dataclass(frozen=True)
class Schema:
    """The features that are read of an example, and their meaning.

    Attributes:
        image, objects, image_id, file_name: where these are in an example; the last two may be None.
        box, label, ignore, object_id, area: keys of an object; all but the box may be None.
        others: `{key: names of its classes, or ()}` of what else an object has, numbers and truths.
        class_names, category_ids: of the classes, by label.
        box_form: one of `keys.BOX_FORMS`.
        known: what is known of the data set.
    """

    image: Path
    objects: Path
    image_id: Path | None
    file_name: Path | None
    box: str
    label: str | None
    ignore: str | None
    object_id: str | None
    area: str | None
    others: Mapping[str, Sequence[str]]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    box_form: str
    known: Known

    def wanted(self) -> dict[str, Any]:
        """The features to decode, as `tfds.decode.PartialDecoding` takes them."""
        tree: dict[str, Any] = {}
        for path in (self.image, self.image_id, self.file_name):
            if path is not None:
                _put(tree, path, True)
        keys = {self.box, self.label, self.ignore, self.object_id, self.area, *self.others} - {None}
        _put(tree, self.objects, dict.fromkeys(keys, True))
        return tree


def find_schema(builder: Any, known: Known, given: Keys, source: str) -> Schema:
    """The schema of a data set.

    Args:
        builder: its `tfds.core.DatasetBuilder`.
        known, given: what is known of it, and the features that are named by hand, which come first.
        source: for errors.

    Raises:
        UserError: a feature is not there, or is of another kind; or several could be meant, or none.
    """
    return _Finder(dict(_flat(builder.info.features)), known, given.over(known.keys), source).schema()


def at(example: Mapping[str, Any], path: Path) -> Any:
    """The value under a path of keys."""
    value: Any = example
    for key in path:
        value = value[key]
    return value


def _put(tree, path, value):
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value


def _flat(features, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """(path, feature) of all features that are no dictionaries."""
    for key, feature in features.items():
        if type(feature).__name__ == "FeaturesDict":
            yield from _flat(feature, (*path, key))
        else:
            yield (*path, key), feature


class _Finder:
    """Looks for features, and names those that there are where it finds none."""

    def __init__(self, features: Mapping[Path, Any], known: Known, keys: Keys, source: str):
        self._features, self._known, self._keys, self._source = features, known, keys, source
        kinds = package().features
        self._is_box = lambda feature: isinstance(feature, kinds.BBoxFeature)
        self._is_label = lambda feature: isinstance(feature, kinds.ClassLabel)
        self._is_image = lambda feature: isinstance(feature, kinds.Image)
        self._is_text = lambda feature: isinstance(feature, kinds.Text)
        self._is_sequence = lambda feature: isinstance(feature, kinds.Sequence)

    def schema(self) -> Schema:
        image = self._path("image_key", self._is_image, "an Image", usual="image")
        self._check_kind("image_key", "/".join(image), self._is_image(self._features[image]), "an Image")
        objects = self._path("objects_key", self._holds_boxes, "a sequence of objects with a box each")
        inside = self._of_objects(objects)
        box = self._key("box_key", inside, self._is_box, "a BBoxFeature")
        self._check_kind("box_key", box, _is_four(inside[box]), "four numbers")
        label = None
        if not self._keys.class_name:
            label = self._key("label_key", inside, self._is_label, "a ClassLabel, or --class-name for one class of all")
        names, ids = self._classes(None if label is None else inside[label])
        ignore, object_id, area = (
            self._usual_key(name, inside) for name in ("ignore_key", "object_id_key", "area_key")
        )
        read = {box, label, object_id, area, "is_crowd"}
        return Schema(
            image=image,
            objects=objects,
            image_id=self._usual_path("image_id_key", _is_whole),
            file_name=self._usual_path("file_name_key", self._is_text),
            box=box, label=label, ignore=ignore, object_id=object_id, area=area,
            others={key: tuple(feature.names) if self._is_label(feature) else ()
                    for key, feature in inside.items() if key not in read and _is_number(feature)},
            class_names=names,
            category_ids=ids,
            box_form=self._box_form(inside[box]),
            known=self._known,
        )  # fmt: skip

    def _holds_boxes(self, feature) -> bool:
        return self._is_sequence(feature) and any(map(self._is_box, _within(feature).values()))

    def _of_objects(self, objects) -> Mapping[str, Any]:
        feature = self._features[objects]
        if not self._is_sequence(feature) or not _within(feature):
            raise UserError(f"{self._source}: {'/'.join(objects)!r} is no sequence of objects; name one by objects_key")
        return _within(feature)

    def _path(self, name, is_right, what, usual=None) -> Path:
        paths = {"/".join(path): path for path, feature in self._features.items() if is_right(feature)}
        if getattr(self._keys, name) is not None or usual not in paths:
            all_paths = {"/".join(path): path for path in self._features}
            return all_paths[self._chosen(name, all_paths, list(paths), what)]
        return paths[usual]

    def _key(self, name, inside, is_right, what) -> str:
        return self._chosen(name, inside, [key for key, feature in inside.items() if is_right(feature)], what)

    def _chosen(self, name, there, candidates, what) -> str:
        """The one that is named or the only candidate."""
        wanted = getattr(self._keys, name)
        option = f"{_option(name)} ({name}= in Python)"
        if wanted is not None:
            if wanted not in there:
                names = ", ".join(sorted(there))
                raise UserError(f"{self._source}: has no feature {wanted!r}, only {names}; name another by {option}")
            return wanted
        if len(candidates) != 1:
            names = ", ".join(sorted(candidates or there))
            found = f"several ({names})" if candidates else f"none of {names}"
            raise UserError(f"{self._source}: {found} could be {what}; name it by {option}")
        return candidates[0]

    def _check_kind(self, name, key, is_right, what):
        if not is_right:
            raise UserError(f"{self._source}: {key!r} is not {what}; name another feature by {_option(name)}")

    def _usual_path(self, name, is_right) -> Path | None:
        paths = {"/".join(path): path for path in self._features}
        key = self._usual(name, paths, lambda key: is_right(self._features[paths[key]]))
        return None if key is None else paths[key]

    def _usual_key(self, name, inside) -> str | None:
        return self._usual(name, inside, lambda key: _is_number(inside[key]))

    def _usual(self, name, there, is_right: Callable[[str], bool]) -> str | None:
        """The one that is named, or else the first usual one that there is."""
        wanted = getattr(self._keys, name)
        if wanted is not None:
            if wanted:
                self._check_kind(name, self._chosen(name, there, [], ""), is_right(wanted), _WHAT.get(name, "a number"))
            return wanted or None
        return next((key for key in _USUAL[name] if key in there and is_right(key)), None)

    def _classes(self, label) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Names and category ids by label."""
        if label is None:
            return (str(self._keys.class_name),), (1,)
        if not self._is_label(label):
            raise UserError(
                f"{self._source}: {self._keys.label_key!r} is no ClassLabel, so nothing names its classes; name another"
                " by --label-key, or --class-name for one class of all"
            )
        names, ids = tuple(label.names), self._known.category_ids
        if ids and names == tuple(map(str, range(len(ids)))):  # prepared without names
            names = tuple(ids)
        counted = tuple(range(1, len(names) + 1))
        return names, tuple(ids[name] for name in names) if set(names) == set(ids) else counted

    def _box_form(self, box) -> str:
        if self._keys.box_form:
            return self._keys.box_form
        form = getattr(box, "bbox_format", "REL_YXYX")  # which older versions do not say: they know no other
        if form is None:
            raise UserError(f"{self._source}: does not say the form of its boxes; name it by {_option('box_form')}")
        return str(getattr(form, "value", form))


def _within(sequence) -> Mapping[str, Any]:
    """The features of an element of a sequence, where it has several."""
    inside = sequence.feature
    return dict(inside.items()) if type(inside).__name__ == "FeaturesDict" else {}


def _is_number(feature) -> bool:
    """Whether a feature is one number, truth or label."""
    return feature.shape == () and np.dtype(feature.np_dtype).kind in "iufb"


def _is_four(feature) -> bool:
    return feature.shape == (4,) and np.dtype(feature.np_dtype).kind in "iuf"


def _is_whole(feature) -> bool:
    return feature.shape == () and np.dtype(feature.np_dtype).kind in "iu"


def _option(name) -> str:
    return "--" + name.replace("_", "-")
