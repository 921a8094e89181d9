from __future__ import annotations

from django import forms

from memory_service.models.conversation import MAX_NAME_CHARS


class SessionFilter(forms.Form):
    """What the list of sessions is narrowed by. An empty field narrows nothing."""

    q = forms.CharField(required=False, max_length=MAX_NAME_CHARS)
    user = forms.CharField(required=False, max_length=MAX_NAME_CHARS)
    agent = forms.CharField(required=False, max_length=MAX_NAME_CHARS)

    def problem(self) -> str:
        """The first complaint, as a sentence that names its field; "" if there is none."""
        names = {"q": "Search", "user": "User", "agent": "Agent or app"}
        return next((f"{names[field]}: {errors[0]}" for field, errors in self.errors.items()), "")
