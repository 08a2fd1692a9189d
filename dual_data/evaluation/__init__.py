"""The reference unlearning evaluation: torch and transformers live only here (extra `eval`).

    settings -> grid/ -> training/ with methods/ -> measuring/ with metrics/ -> results -> report/

settings     the grid file: models, data, training stages, presets, grids
rows/        questions and answers as token ids        models/     loaded, by name or file
methods/     a file for each unlearning method         device/     memory, repeatability, several devices
training/    many cells at once on one base            measuring/  likelihoods and answers of every question
grid/        which cells, which are done, and the run  results     what is kept of a cell
attacks/     getting facts out again                   examine     the attacks that need the model
report/      tables, charts, what they answer          statistics  intervals and tests
compare, foreign, publish: two results, others' generations, an adapter for others
"""
