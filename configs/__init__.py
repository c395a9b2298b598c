"""The shipped configurations, installed as `keras_fpn.configs`; `keras_fpn.load_config(name)` reads them."""
