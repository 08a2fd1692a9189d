"""`dual-data`, which is also `python -m dual_data`."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C may come while it is imported, too."""
    try:
        from dual_data.cli import main as run

        run()
    except KeyboardInterrupt:
        from dual_data.system.interrupts import say_stopped  # Not above, where Ctrl-C is not handled yet.

        say_stopped()
        sys.exit(130)


if __name__ == "__main__":
    main()
