"""`keras-fpn data`: one file a command, named as the command is, with a hyphen for each underscore."""

from keras_fpn.commands.data import convert, from_tfds, shapes, to_shards

COMMANDS = (shapes, convert, from_tfds, to_shards)
from keras_fpn.commands.data import check, from_tfds, shapes, to_shards

COMMANDS = (shapes, check, from_tfds, to_shards)
