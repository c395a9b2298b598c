"""The `keras-fpn` command: a file for each sub-command, its options and its lines on the screen."""
