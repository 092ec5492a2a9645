"""Converters from checkpoints that others have published into folders of ours."""
