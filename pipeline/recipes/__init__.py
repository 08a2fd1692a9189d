"""The recipes of splits: which facts are to be forgotten, which are kept, and which columns are published.

paper        as published
matched      rare and popular facts paired, on relation and answer length or on the answer itself
popularity   by which signal facts are ranked; balance: how alike the two sides are; examples: the rows of every recipe
"""
