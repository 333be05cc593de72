"""The command line: it parses, calls the public API, and says what happened."""
