"""`python -m quantbench`: the command line, where the script of the same name is not on the path."""

from quantbench.cli import main

if __name__ == "__main__":
    main()
