"""The exception for every mistake in what a user passes."""


class InputError(ValueError):
    """Bad input: the message is one line that names the value (or file) and the way out.

    The command line prints it as it is and exits with 2; in Python it is an ordinary `ValueError`.
    """


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is no memory left: Python's, NumPy's, and those of torch on a CPU or a device."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and (type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error))
    )
