"""Exporters, one file for each format; installed as `keras_fpn.export`."""
