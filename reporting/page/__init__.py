"""The page: all rows in one file that opens from disk, asks no network, and can be sent to a co-author.

`contents` says what the page knows, `write` puts it into one file with the style, the scripts and Vega beside them.
"""

from reporting.page.write import write_page

__all__ = ["write_page"]
