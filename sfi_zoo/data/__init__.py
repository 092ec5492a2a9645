"""Data: songs from a formula, and folders of stems in the MUSDB layout."""
