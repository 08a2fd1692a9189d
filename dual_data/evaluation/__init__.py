"""The reference unlearning evaluation: torch and transformers live only here (extra `eval`).

    settings -> grid/ -> training/ with methods/ -> measuring/ with metrics/ -> results -> report/

settings     the grid file: models, data, training stages, presets, grids
rows/        questions and answers as token ids        models/     loading by name or file
methods/     a file for each unlearning method         device/     memory, repeatability, several devices
training/    many cells at once on one base            measuring/  likelihoods and answers of every question
grid/        which cells, which are done, and the run  results     the files of a cell's result
attacks/     relearning, quantisation, lm-eval tasks   attack_results   the files of what they find
report/      tables, charts, what they answer
compare, sides: two results compared, and how they are named
logs, rescoring: generations, those of other code too, scored anew      publish     an adapter for others
"""
