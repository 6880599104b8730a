"""Tables of method comparisons as grids: every cell adapted, sampled and measured, and kept."""

from .figures import FIGURES, run_figure
from .grid import Grid, Row, Target, list_grids, load_grid
from .run import Cell, run_grid
from .table import cells_csv, charts, markdown

__all__ = [
    "FIGURES",
    "Cell",
    "Grid",
    "Row",
    "Target",
    "cells_csv",
    "charts",
    "list_grids",
    "load_grid",
    "markdown",
    "run_figure",
    "run_grid",
]
