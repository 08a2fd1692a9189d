"""Texts: how they are compared, scored and shown.

words      folding and splitting in any script
literals   dates and quantities as readers write them
matching   whether a text gives an accepted answer
rouge      ROUGE-1 and ROUGE-L of short answers
stemmer    the stemmer of ROUGE
display    numbers and names for people, and text from outside made safe
markdown   the same in Markdown
markup     HTML elements
"""
