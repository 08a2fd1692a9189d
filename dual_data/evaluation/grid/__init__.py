"""A grid of cells: models x training stages x sets x methods x learning rates x seeds, run and resumed.

cells        a grid spelled out, and which cells are done; forecast: what the others will take
run          one resident base a model; stages before unlearning; cells trained, measured and dropped in place
workers      claims: several processes, a device each, taking cells of one grid
conflicts    results of other settings in the same folder, which are refused
provenance   origin, planned: what is written beside a cell's measurement; stages: training before unlearning
"""
