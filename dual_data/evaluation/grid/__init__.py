"""A grid of cells: models x training stages x sets x methods x learning rates x seeds, run and resumed.

cells        the cells of a grid, and which are done; sets: their rows
forecast     what they will take, and whether their methods work, before a model is loaded
run          loads each model once -> stage_run: trains, measures and drops cells on it
grid_run     the options of a run, and what all its stages share
tokenised    what the cells of a model are trained on and asked
workers      claims: several processes, one per device, that take cells of one grid
conflicts    results of other settings in the same folder, which are refused
provenance   origin, planned: what is written besides a cell's measurement; stages: training before unlearning
"""
