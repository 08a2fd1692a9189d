"""Chat models that answer questions and judge, with the call log in front of them.

protocol     what the stages see of a model; local: one in this process; openai/: one behind a server
label_scores scores on a scale of labels, from what a model says or would say
usage        tokens and money, and a limit that stops in time
"""
