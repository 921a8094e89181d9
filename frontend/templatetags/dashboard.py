from __future__ import annotations

from datetime import datetime

from django import template
from django.utils.formats import date_format
from django.utils.html import format_html

register = template.Library()


@register.filter
def number(value: int) -> str:
    return f"{value:,}"


@register.filter
def initials(name: str) -> str:
    """Up to two letters for a speaker's disc."""
    words = [word for word in name.split() if word[0].isalnum()]
    return "".join(word[0] for word in words[:2]).upper() or "?"


@register.simple_tag
def moment(value: datetime | None, form: str = "j M Y, H:i") -> str:
    """A time for people and machines; a dash for one that is not known."""
    if value is None:
        return format_html('<span class="muted">{}</span>', "–")
    return format_html('<time datetime="{}">{}</time>', value.isoformat(), date_format(value, form))
