"""``python -m saliency_cli``: the same as ``vsal``."""

from saliency_cli.cli.app import main

main()
