"""Kinds of published files: a module for each kind of model, which says how its files are known.

A kind registers itself with `@register_published`; nothing else names it. Which of a source's kinds a file is,
`kind_of` tells; the names of the tensors stand beside the parts, see `parts.checkpoint_names`.
"""

import importlib
import pkgutil

from keras_fpn.checkpoints.published.kind import PublishedKind, current_names, kind_of, kinds, register_published

__all__ = ["PublishedKind", "current_names", "kind_of", "kinds", "register_published"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
