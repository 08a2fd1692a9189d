"""What a report computes, before any words.

collect     results -> runs: their scores as arrays -> estimates: means with intervals; levels: means and their draws
frontier    which learning rate is chosen; contrast, curves, elicited, held_out: what is compared with what
frequency   and quality: analyses that follow other papers; examined: figures of the chosen cells only
own_words   answers in the model's own words
membership  and posterior: attacks that read the scores of items and need no model
recovery    what an attack brings back beyond its effect on a control; relearned: curves of relearning with theirs
"""
