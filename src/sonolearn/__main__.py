"""`python -m sonolearn`, the same as the command `sonolearn`."""

from sonolearn.cli import main

if __name__ == "__main__":
    main()
