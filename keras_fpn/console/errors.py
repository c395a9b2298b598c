"""The one exception that means: the person who called can mend this."""


class UserError(ValueError):
    """A mistake in a call, a configuration or a data set, told in one line.

    The message names the file, the key or the image and says the mend. Commands print it as
    `error: message` and exit with code 2; from Python it is an ordinary `ValueError`.
    """
