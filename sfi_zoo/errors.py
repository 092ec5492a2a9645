"""The one exception for whatever a user can pass wrongly."""


class InputError(ValueError):
    """Bad input: the message is one line that names the value (or file) and the way out.

    The command line prints it as it is and exits with 2; in Python it is an ordinary `ValueError`.
    """
