"""Training: recipes, excerpts, losses and the loop."""
