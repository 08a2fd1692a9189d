"""Models as the evaluation takes them: loaded by name, folder or GGUF file, their tokenizers' traps dealt with.

loading      -> Loaded, from cache (converted and hashed once) and hub (what it says of a name); tiny: random ones
attention    norms: kernels in place of what a model's own code spells out; trial_text: what fast paths are tried on
context      how many tokens a model takes
local_model  a model as a closed-book probe of the pipeline
"""
