"""Numbers, times and texts as people read them."""

from __future__ import annotations

import datetime
from html import escape

NANO = 1_000_000_000


def money(nano: int | None) -> str:
    """Nano-dollars as $0, $0.0012 or $1.23; None is an unknown price and says so."""
    if nano is None:
        return "price unknown"
    if nano == 0:
        return "$0"
    dollars = nano / NANO
    sign, size = ("-" if dollars < 0 else ""), abs(dollars)
    if size >= 1:
        return f"{sign}${size:,.2f}"
    if size < 1e-6:
        return f"{sign}<$0.000001"
    places = 3 if size >= 0.01 else 4 if size >= 0.001 else 5 if size >= 0.0001 else 6
    return f"{sign}${size:.{places}f}"


def count(number: int) -> str:
    """A number of tokens or rows: 31, 8,192, 12.4k, 1.05M."""
    if abs(number) < 10_000:
        return f"{number:,}"
    if abs(number) < 999_950:
        return f"{number / 1000:.1f}".removesuffix(".0") + "k"
    return f"{number / 1_000_000:.2f}".rstrip("0").rstrip(".") + "M"


def seconds(value: float) -> str:
    """A duration: 0.10 s, 1.3 s, 12 s, 2 min 5 s."""
    if value < 0.995:
        return f"{value:.2f} s"
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def size(octets: int) -> str:
    """A file's size: 320 B, 12 kB, 3.4 MB."""
    if octets < 1000:
        return f"{octets} B"
    if octets < 999_500:
        return f"{octets / 1000:.0f} kB"
    return f"{octets / 1_000_000:.1f} MB"


def day(moment: datetime.datetime, now: datetime.datetime) -> str:
    """The heading under which something of `moment` is listed: Today, Yesterday, Last 7 days, October 2026."""
    days = (now.date() - moment.astimezone(now.tzinfo).date()).days
    if days <= 0:
        return "Today"
    if days == 1:
        return "Yesterday"
    if days < 7:
        return "Last 7 days"
    return moment.astimezone(now.tzinfo).strftime("%B %Y")


def text(value: object) -> str:
    """Safe to put into HTML, in text and in attributes."""
    return escape(str(value).replace("\x00", ""), quote=True)
