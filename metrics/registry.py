"""Metrics that the scoring run measures beside the three LEE: one line here, or in a program of one's own. See docs/add_a_metric.md."""

from collections.abc import Callable

from sfi_zoo.metrics.lee import LEESums, Observation

# name -> what is observed at F, what at F0, and the margin of `shared_features`, to squared errors and references
METRICS: dict[str, Callable[[Observation, Observation, float], LEESums]] = {}
