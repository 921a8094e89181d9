"""Files into text: a parser per format, each run in a process of its own under limits (runner.py).

Nothing in this package knows Django, so that the process that reads a hostile file starts quickly and holds nothing.
"""
