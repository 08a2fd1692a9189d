"""The findings, in sentences generated from the numbers: nothing is claimed that an interval does not support.

popularity, stages, wordings, relearning, baselines     one question each
sentences                                               comparisons, their correction, and common words
section                                                 all of them, as the report has them
"""
