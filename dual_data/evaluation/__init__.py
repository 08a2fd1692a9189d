"""The reference unlearning evaluation: torch and transformers live only here (extra `eval`).

data models tiny cache      rows and their token ids; models and their traps
lora methods train stages   adapters on one resident base; losses; steps; the stages before unlearning
generate metrics score      what a model says and how sure it is, turned into numbers
grid results                cells, resume, one JSON a cell
local_model                 the same models as closed-book probes of the pipeline
"""
