"""Colours and figures that all pictures share."""

from __future__ import annotations

from typing import Any

# Okabe and Ito's colours, told apart by colour-blind readers: orange, sky blue, bluish green, vermilion, blue,
# reddish purple, yellow.
OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#F0E442")

# A line's dashes repeat the message of its colour, for prints without colour.
DASHES = ("solid", "dashed", "dotted", "dashdot")


def class_colour(value: int) -> str:
    """Colour of the foreground class `value` (1, 2, ...); colours repeat after the seventh."""
    return OKABE_ITO[(value - 1) % len(OKABE_ITO)]


def new_figure(width_inch: float, height_inch: float) -> Any:
    """A matplotlib figure that draws without a display and leaves pyplot's global state alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inch, height_inch), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
