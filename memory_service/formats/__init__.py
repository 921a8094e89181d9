"""A context as text, in the form that a model or a program reads best. Pure: memories as small values in, text out."""

from .json import JSON
from .markdown import MARKDOWN
from .plain import PLAIN
from .toon import TOON
from .types import Entry, Format, Rendered, Section
from .yaml import YAML

FORMATS = {one.name: one for one in (MARKDOWN, YAML, JSON, TOON, PLAIN)}

__all__ = ["FORMATS", "Entry", "Format", "Rendered", "Section"]
