"""`python -m flexpose` is the command `flexpose`."""

from flexpose.cli import main

if __name__ == "__main__":
    main()
