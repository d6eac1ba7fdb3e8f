"""Colours of charts that colour-blind people tell apart, too: Okabe and Ito 2008, "Color Universal Design"."""

# Of series, such as runs, in this order; after the last they begin again with the next of DASHES.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a7f87")
DASHES = ("", "6 3", "2 2", "8 3 2 3")  # of lines, as SVG writes them; an empty one is solid
# Of the kinds of errors (`stages.ops.errors.KINDS`), and of instances that nothing touches.
KINDS = {
    "right": "#009e73",
    "duplicate": "#56b4e9",
    "class": "#cc79a7",
    "crowd": "#b8bec6",
    "grouped": "#d55e00",
    "part": "#e69f00",
    "loose": "#f0e442",
    "background": "#4a5058",
    "poor": "#0072b2",
    "missed": "#e3e6ea",
}
INK_ON = {"background": "#ffffff", "poor": "#ffffff"}  # of text on these; black on all others
