"""Metrics as pure functions on strings and numbers; none of them imports torch.

text         of a generation; likelihood, truth_ratio, membership: of an answer under teacher forcing
chance       what trivial rules reach, and scores corrected for it; fluency: whether generations are still language
summary      the means of a set; panel: scores on the utility panel
"""
