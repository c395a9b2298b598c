"""`keras-fpn data`: one file a command, named as the command is, with a hyphen for each underscore."""

from keras_fpn.commands.data import check, convert, from_tfds, shapes, show, to_shards

COMMANDS = (shapes, check, show, convert, from_tfds, to_shards)
