"""The half of a data set that is learnt from, named by a configuration; found without TensorFlow."""

import os

from keras_fpn.config.loading import Config
from keras_fpn.console.errors import UserError
from keras_fpn.data.formats import find_halves
from keras_fpn.data.settings import SplitSettings
from keras_fpn.data.sources import Names, as_settings
from keras_fpn.training.named_files import check_data


def with_train_half(config: Config, data: Names | None = None) -> Config:
    """Return `config` with the files of its training half alone, which are there.

    Args:
        data: a folder in a known layout, or another name that a format knows, or several; a data set that nothing
            divides is the training half. Without it the files are those that the configuration names.

    Raises:
        UserError: no known layout, no data named at all, or files that are not there.
    """
    tree = config.model_dump()
    names = [data] if isinstance(data, str | os.PathLike) else list(data or ())
    if names:
        found = [halves for _, halves in map(find_halves, names)]
        train = [halves.get("train") or next(iter(halves.values())) for halves in found]
        tree["data"]["train"] |= as_settings(train)
    if tree["data"]["train"]["annotations"] is None:
        raise UserError("data.train.annotations is not set; give --data DIR or --set data.train.annotations=PATH")
    tree["data"]["val"] = SplitSettings().model_dump()
    config = Config.model_validate(tree)
    check_data(config)
    return config
