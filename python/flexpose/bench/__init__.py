"""Tables of method comparisons as grids: every cell adapted, sampled and measured, and kept."""

from .grid import Grid, Row, Target, list_grids, load_grid
from .run import Cell, run_grid
from .table import cells_csv, markdown, plot

__all__ = [
    "Cell",
    "Grid",
    "Row",
    "Target",
    "cells_csv",
    "list_grids",
    "load_grid",
    "markdown",
    "plot",
    "run_grid",
]
