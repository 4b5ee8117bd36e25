"""`python -m marketplace_worker`: the same as `marketplace-worker`."""

from marketplace_worker.cli import main

if __name__ == "__main__":
    main()
