"""What finished runs show: comparisons, figures and one page."""
