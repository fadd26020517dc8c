"""The command ``callosal``, also as ``python -m callosal``: the door of the command line."""

import sys


def main() -> int:
    """Run the command line, or say in one line how to install it."""
    try:
        from callosal import cli  # noqa: PLC0415  (typer is an optional extra)
    except ModuleNotFoundError as error:
        if (error.name or "callosal").startswith("callosal"):
            raise
        print('callosal: the command line needs pip install "callosal[cli]"', file=sys.stderr)
        return 2
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
