"""`python -m dual_data` is `dual-data`."""

from dual_data.cli import main

if __name__ == "__main__":
    main()
