"""A page to look at: one HTML file with the video, its maps, what they say, and where they come from."""
