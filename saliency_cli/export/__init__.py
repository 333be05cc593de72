"""Networks as files for other programs: ``vsal models export``."""
