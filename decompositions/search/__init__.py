"""The C step: which rank each layer gets, searched by one process or several."""
