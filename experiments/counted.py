"""A counted noun in a sentence: "1 unit", "2,000 units". For the floors below `reporting.numbers`."""


def counted(number: int, singular: str) -> str:
    """
    >>> counted(1, "unit"), counted(0, "unit"), counted(2000, "day")
    ('1 unit', '0 units', '2,000 days')
    """
    return f"{number:,} {singular}{'' if number == 1 else 's'}"
