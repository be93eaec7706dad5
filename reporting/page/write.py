"""Write the page: data, style, scripts and Vega in one file."""

from __future__ import annotations

import base64
import functools
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from evaluation.result import Result
from reporting.page.contents import contents
from reporting.papers import Published
from reporting.variants import Options
from runtime.atomic import atomic_write

PARTS = Path(__file__).parent
# Entries kept of each history: fewer where the rows of many deep networks would make the page too large to send.
STEPS = (None, 20, 8, 3)
LIMIT = 1_400_000
# They share one scope; each uses those before it.
SCRIPTS = "elements state filters charts accuracy promise steps tasks run table compare page".split()


def write_page(
    path: Path,
    results: Sequence[Result],
    experiments: Iterable[Published] = (),
    reconstructions: Options = (),
    folders: Mapping[str, Path] | None = None,
) -> None:
    """Write all results as one page that needs no network.

    `experiments` are drawn as reported points; `folders` maps the id of a row to the folder of its files, for links.
    """
    published = list(experiments)
    for steps in STEPS:
        data = contents(results, published, reconstructions, folders or {}, path.parent, steps)
        packed = gzip.compress(json.dumps(data, allow_nan=False, separators=(",", ":")).encode(), mtime=0)
        if len(packed) <= LIMIT:
            break
    parts = {
        "style": (PARTS / "page.css").read_text(encoding="utf-8"),
        "vega": _vega(),
        "data": base64.b64encode(packed).decode(),  # base64: no text in a row can end the script
        "scripts": "\n".join((PARTS / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS),
    }
    before, *pieces = (PARTS / "page.html").read_text(encoding="utf-8").split("{{")
    page = before
    for piece in pieces:
        name, after = piece.split("}}", 1)
        page += parts[name] + after
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


@functools.cache
def _vega() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script; bundling takes a second, once a process."""
    import vl_convert  # a large library, loaded for the page alone

    return vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub knows no default
