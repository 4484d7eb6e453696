"""The page itself: a template filled with what was gathered, everything from tables escaped."""

import base64
import hashlib
import unicodedata
from datetime import date, datetime
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from newslake.reports.charts import percent, short_count
from newslake.reports.topicmap import label_of


def rendered(**values: Any) -> str:
    """The HTML of the report.

    Whatever comes from tables is untrusted text: it is escaped by the template, and should a slip ever let
    markup through, the page's own policy (CSP) lets no script run but the one whose hash it names, and
    nothing be loaded from anywhere.
    """
    environment = Environment(
        loader=PackageLoader("newslake.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        clean=clean,
        short=short_count,
        day=day,
        clock=clock,
        seconds=seconds,
        percent=percent,
        label_of=label_of,
    )
    style, script = _file("style.css"), _file("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.get_template("report.html.j2")
    return page.render(**values, style=Markup(style), script=Markup(script), script_hash=digest)


def clean(text: object, most: int = 200) -> str:
    """Text in one line, no longer than so many characters, without what is no character to see: controls and
    direction marks.

    None, a value that is not known, is no text.
    """
    if text is None:
        return ""
    shown = "".join(char if _visible(char) else " " for char in str(text)[: 4 * most])
    shown = " ".join(shown.split())
    return shown if len(shown) <= most else shown[: most - 1].rstrip() + "…"


def _visible(char: str) -> bool:
    # The joiners stay: they make one emoji of several, and letters of some scripts.
    return char in "\u200c\u200d" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def day(value: date | datetime) -> str:
    """15 November 2019."""
    return f"{value.day} {value:%B %Y}"


def clock(value: datetime) -> str:
    """15 November 2019, 08:00."""
    return f"{day(value)}, {value:%H:%M}"


def seconds(value: float) -> str:
    """4.2 s, 3 min 20 s, 2 h 05 min."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _file(name: str) -> str:
    return (resources.files("newslake.reports") / "templates" / name).read_text(encoding="utf-8")
