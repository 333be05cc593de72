"""What is in an input, how it will be read, and what predicting it will take: ``vsal inspect``."""
