"""The report: one HTML file that shows a build to a reader, and its figures for papers."""
