"""The version, in the one place that holds it: the package, the wheel and ``vsal --version`` read it here."""

__all__ = ["__version__"]

__version__ = "0.1.0"
