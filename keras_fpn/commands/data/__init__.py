"""`keras-fpn data`: one file a command, named as the command is, with a hyphen for each underscore."""

from keras_fpn.commands.data import check, convert, from_tfds, shapes, to_shards

COMMANDS = (shapes, check, convert, from_tfds, to_shards)
