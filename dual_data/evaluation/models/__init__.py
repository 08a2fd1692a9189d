"""Models as the evaluation uses them: loaded by name, folder or GGUF file, with the traps of their tokenizers handled.

loading      -> Loaded, with cache (converts, hashes files once), hub (what it knows of a name) and special_tokens
names        what a model can be called
tiny         random models
decoder      layers, hidden states and head of a model; shard: its layers spread over several devices
attention    norms: faster kernels in place of a model's own code; trial_text: what fast paths are tried on
"""
