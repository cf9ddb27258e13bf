"""``python -m ffbench_eval`` is the command ``ffbench``."""

from .cli import main

main()
