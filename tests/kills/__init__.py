"""Commands that are killed at chosen moments: before and after each step that changes the disk, and in the middle of writes.

    python -m tests.kills --count 500          # over all commands
    python -m tests.kills --command train      # one of them

A kill is `os._exit`: nothing is cleaned up. After it no file is half written; the same command, run again, ends well, with the files of a
run that was not killed, and with nothing else.
"""
