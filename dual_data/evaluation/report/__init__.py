"""The report of a grid: one HTML page, one Markdown file and a CSV of its numbers.

analysis/   what is computed: scores, their intervals, comparisons
findings/   the questions and their answers, in sentences
sections/   all sections: tables, charts and what to mind
document    headings, tables and figures as HTML or Markdown; chart, marks: SVG; places: where a cell belongs
numbers     how numbers are written
write       the files
"""
