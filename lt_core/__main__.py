"""``python -m lt_core``."""

from lt_core.cli import main

if __name__ == "__main__":
    main()
