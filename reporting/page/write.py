"""Write the page: style, scripts, Vega and the data in one file."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from evaluation.result import Result
from reporting.page.contents import contents
from reporting.papers import Published
from reporting.variants import Options

PARTS = Path(__file__).parent
# Of each history so many entries, fewer where a thousand deep networks would make the page too large to send.
STEPS = (None, 20, 8, 3)
LIMIT = 1_400_000
# In the order in which they use each other; they share one scope.
SCRIPTS = "elements state filters charts accuracy promise steps tasks run table compare page".split()


def write_page(
    path: Path,
    results: Sequence[Result],
    experiments: Iterable[Published] = (),
    reconstructions: Options = (),
    folders: Mapping[str, Path] | None = None,
) -> None:
    """Write all results as one page that needs no network.

    `experiments` are drawn as reported points; `folders` maps the id of a result to the folder of its files, for links.
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
        "data": base64.b64encode(packed).decode(),  # of letters alone: no text in a row can end the script
        "scripts": "\n".join((PARTS / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS),
    }
    before, *pieces = (PARTS / "page.html").read_text(encoding="utf-8").split("{{")
    page = before
    for piece in pieces:
        name, after = piece.split("}}", 1)
        page += parts[name] + after
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(page, encoding="utf-8")
    os.replace(temporary, path)


@functools.cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script; bundling takes a second, once for all pages of a process."""
    import vl_convert  # a large library, loaded for the page alone

    return vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub knows no default
