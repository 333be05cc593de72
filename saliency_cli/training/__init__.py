"""Training: recipes, gaze data, losses, and the loop that a stop does not harm."""
