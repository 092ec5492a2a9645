"""Scoring: models over adaptation modes, sampling frequencies and tracks, into records of sums that outlive a kill."""
