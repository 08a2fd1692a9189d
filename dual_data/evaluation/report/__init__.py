"""The report of a grid: one HTML page, one Markdown file and a CSV of its numbers.

collect      results -> runs, as arrays -> places: where a cell belongs; estimates; levels: means and their draws
frontier     which learning rate is chosen; contrast, curves, pairs, swapped, held_out: what is compared with what
frequency    and quality: analyses that follow other papers
findings     the questions and their answers, in sentences
extras       figures of the chosen cells alone, from their items and from attacks
sections     all; caveats, main_table, own_words, further, every_cell, attacked, traces, panel, settings: each its own
document     headings, tables and figures as HTML or Markdown; chart, marks, plots: SVG; write: the files
"""
