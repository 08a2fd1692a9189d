"""Models as the evaluation uses them: loaded by name, folder or GGUF file, with the traps of their tokenizers handled.

loading      -> Loaded or, without weights, Unloaded; with cache (converts, hashes files once) and special_tokens
names        what a model can be called; hub: what the Hub knows of a name
tiny         random models
decoder      layers, hidden states and head of a model; shard: its layers spread over several devices
attention    norms: faster kernels in place of a model's own code; trial_text: what fast paths are tried on
"""
