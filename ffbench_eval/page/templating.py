"""Pages from jinja templates, and numbers as print would have them: one place for what every page must do."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import words as wording

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def environment(folder: Path) -> Environment:
    """The jinja environment of a folder of templates: everything is escaped, an unknown name is an error, and every
    string that is printed loses its control characters (`wording.clean`). Filter ``typeset``: see there.

    >>> environment(Path(".")).from_string("{{ name }} {{ '-1'|typeset }}").render(name="<b>\\x07</b>")
    '&lt;b&gt;&lt;/b&gt; −1'
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["typeset"] = typeset
    return made


def _printable(value: Any) -> Any:
    from markupsafe import Markup

    return wording.clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def typeset(text: str) -> Any:
    """Numbers made by `wording` with a true minus and raised powers of ten, as escaped markup.

    >>> str(typeset("-1.5e-3 < 2")), str(typeset(">= 300"))
    ('−1.5 × 10<sup>−3</sup> &lt; 2', '≥ 300')
    >>> str(typeset("0.1 (-2 to 1e-06)"))
    '0.1 (−2 to 1 × 10<sup>−6</sup>)'
    """
    from markupsafe import Markup, escape

    safe = str(escape(text)).replace("&gt;= ", "≥ ").replace(" %", "\u00a0%")
    safe = re.sub(r"(?<![\w.])(\d[\d.]*)e(-?)\+?0*(\d+)\b", r"\1 × 10<sup>\2\3</sup>", safe)
    return Markup(re.sub(r"(^|[\s>(])-(?=\d)", "\\1−", safe))
