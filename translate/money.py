"""US dollars as text for people. Programs get the numbers."""


def exact(usd: float) -> str:
    """Return an amount with 6 decimals, or with 9 if it is below a millionth. It never has an exponent.

    >>> exact(12.5), exact(0.0178724), exact(1e-05), exact(4e-07)
    ('12.500000', '0.017872', '0.000010', '0.000000400')
    """
    return f"{usd:.9f}" if 0 < usd < 1e-6 else f"{usd:.6f}"


def short(usd: float) -> str:
    """Return an amount with 4 decimals, or as :func:`exact` if it is below a tenth of a cent.

    >>> short(0.0412), short(0.000344), short(0.0)
    ('0.0412', '0.000344', '0.0000')
    """
    return f"{usd:.4f}" if usd >= 0.001 or not usd else exact(usd)
