"""`python -m orchestrator` is `orchestrate`."""

from orchestrator.cli import main

if __name__ == "__main__":
    main()
