"""`python -m mednet_bench`: the command line."""

from .cli.main import main

main()
