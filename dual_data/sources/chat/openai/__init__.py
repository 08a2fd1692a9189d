"""Models behind OpenAI-compatible servers: OpenAI, vLLM, llama.cpp and their like.

chat         one request and its answer; answering: closed-book answers
capabilities what a server can do with a model, found out by trying
connection   the HTTP client; answers: what is kept of what it says; errors: what its failures mean
"""
