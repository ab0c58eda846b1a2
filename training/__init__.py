"""The training step, its placements, the loop, checkpoints and trackers; and the two reference entry points."""
