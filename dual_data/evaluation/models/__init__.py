"""Models as the evaluation takes them: loaded by name, folder or GGUF file, their tokenizers' traps dealt with.

loading      -> Loaded, from cache (converted and hashed once) and reach (what the Hub says); tiny: random ones
attention    norms: kernels in place of what a model's own code spells out; trial: the text that both are tried on
context      how many tokens a model takes
local_model  a model as a closed-book probe of the pipeline
"""
