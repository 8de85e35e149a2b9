"""Places in the page that other places lead to."""

from __future__ import annotations

from quantbench.report.html.markup import Html, anchor, element


def experiment_anchor(experiment: str) -> str:
    """Id of an experiment's part of the page."""
    return anchor("experiment", experiment)


def link_to(experiment: str, words: str = "") -> Html:
    """A link to an experiment's part of the page."""
    return element("a", words or experiment, href=f"#{experiment_anchor(experiment)}")
