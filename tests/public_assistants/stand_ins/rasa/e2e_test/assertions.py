"""Stand-in; see the package."""


class Assertion:
    """Imported, never used."""
