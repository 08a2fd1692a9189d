"""The findings, in sentences generated from the numbers: nothing is claimed that an interval does not support.

popularity, stages, wordings, relearning, baselines     one question each
sentences                                               what these share
section                                                 all of them, as the report has them
"""
