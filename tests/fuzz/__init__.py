"""Mutated input for the command line: sound files, model folders, checkpoints of others, results folders.

    python -m tests.fuzz --count 10000          # all kinds; what fails is kept in a folder, with its number
    python -m tests.fuzz --kind audio --only 17 # one input again

Every input is the same for the same kind, number and seed. It runs in a process of its own kind of prison: so much memory, so much time,
no file outside its folder, no program, no network. It has to end with exit code 0, 1 or 2, a mistake told in one line, and nothing
half-written.
"""
