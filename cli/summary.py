"""The last line of `understudy run`: the number of requests, the tokens, the cost and the models. Pure functions."""

from collections.abc import Sequence
from pathlib import Path

from addons.count_requests import Requests
from api.meter import NameUse
from cassettes.show.safe import one_line
from cassettes.usage import Total
from translate.models import ALIASES

MOST_SHOWN = 6
"""The largest number of model names that are shown."""

_SHORT = {model: alias for alias, model in ALIASES.items() if alias != "default"}


def summary(
    requests: Requests,
    total: Total,
    names: Sequence[NameUse],
    *,
    replayed: int = 0,
    recorded: Path | None = None,
    rehearsal: bool = False,
) -> str:
    """Return the line. There must have been at least one request.

    ``total`` is Claude's usage for all requests. ``names`` is the usage for each model name that the app asked for.
    ``replayed`` is the number of requests that the cassette answered. ``recorded`` is the cassette that they were
    recorded into. ``rehearsal``: the API was simulated, so there is no cost.
    """
    parts = [_requests(requests)]
    if replayed:
        parts.append("answered from the cassette" if replayed >= requests.all else f"{replayed} from the cassette")
    if names:
        cached = f" ({100 * total.cached / total.input:.0f} % cached)" if total.cached else ""
        parts += [f"{total.input:,} {_tokens(total.input)} in{cached}", f"{total.output:,} out"]
        parts.append("no cost (rehearsal)" if rehearsal else _cost(total))
        shown = names if len(names) <= MOST_SHOWN else names[: MOST_SHOWN - 1]
        who = [_who(name, with_cost=len(names) > 1 and not rehearsal) for name in shown]
        parts.append(" · ".join(who + ([f"{len(names) - len(shown)} more names"] if len(shown) < len(names) else [])))
    if recorded is not None:
        parts.append(f"recorded in {recorded}")
    return ", ".join(parts)


def _requests(requests: Requests) -> str:
    text = "1 request" if requests.all == 1 else f"{requests.all:,} requests"
    ends = [(requests.failed, "failed"), (requests.left, "cut off by the program")]
    told = ", ".join(f"{count:,} {how}" for count, how in ends if count)
    return f"{text} ({told})" if told else text


def _tokens(count: int) -> str:
    return "token" if count == 1 else "tokens"


def _who(name: NameUse, *, with_cost: bool) -> str:
    """Return ``gpt-5 → opus 3 ($0.035)``: the app's model name, the Claude model, the number of requests, the cost."""
    model = _SHORT.get(name.model, name.model)
    # The app chose the name. It can contain anything.
    asked = "" if name.asked in (name.model, model, "") else f"{one_line(name.asked)} → "
    return f"{asked}{model} {name.requests:,}" + (f" ({_cost(name.total)})" if with_cost else "")


def _cost(total: Total) -> str:
    if not total.unpriced:
        return dollars(total.cost_usd)
    if not total.cost_usd:
        return "price unknown"
    of = "1 request" if total.unpriced == 1 else f"{total.unpriced:,} requests"
    return f"{dollars(total.cost_usd)} and the unknown price of {of}"


def dollars(amount: float) -> str:
    """Write an amount with a useful number of digits: ``$12.35``, ``$0.041``, ``$0.00042``."""
    if amount >= 1:
        return f"${amount:,.2f}"
    if amount >= 0.01:
        return f"${amount:.3f}"
    # Two significant digits, without an exponent.
    return "$" + f"{float(f'{amount:.2g}'):.9f}".rstrip("0").rstrip(".")
