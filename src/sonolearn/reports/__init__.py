"""The page of a study: one HTML file that stands alone, its tables as CSV and LaTeX, its figures as SVG and PNG."""
