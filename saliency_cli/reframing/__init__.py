"""Cropping a video along the predicted attention, as a camera operator would."""
