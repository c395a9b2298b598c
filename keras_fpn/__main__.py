"""`python -m keras_fpn`: the same as the command `keras-fpn`."""

import sys

from keras_fpn.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
