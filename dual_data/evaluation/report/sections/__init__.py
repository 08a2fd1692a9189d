"""The sections of a report.

page        all of them, in order
caveats     what to mind               settings        how models were trained and asked
main_table  the chosen cells           further         more of their scores; every_cell: all cells
plots       charts of the grid         traces          what unlearning leaves to see
methods     methods compared           own_words       answers in the model's own words
prompts     what each kind brings out  by_popularity   forgetting by popularity within a set
attacked    attacks                    common_answers  facts that share one answer
panel       utility
"""
