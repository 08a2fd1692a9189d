"""The report of a grid: collected results, figures, what they answer, one HTML page and one Markdown file."""
