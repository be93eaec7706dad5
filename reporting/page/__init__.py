"""The page: all rows in one file that opens from disk, needs no network, and can be sent to a co-author.

`contents` computes the data of the page; `write` puts them into one file with the style, the scripts and Vega.
"""

from reporting.page.write import write_page

__all__ = ["write_page"]
