"""Commands of `sfi-zoo`, and what they share."""
