"""`python -m nas`: the command, where no script of that name is on the path."""

from nas.cli import main

if __name__ == "__main__":  # workers import this too
    main()
