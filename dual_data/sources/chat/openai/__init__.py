"""Models behind OpenAI-compatible servers: OpenAI, vLLM, llama.cpp and their like.

server       a model there: one request and its answer; closed_book: whole answers to questions
features     what a server can do with a model, found out by trying
connection   the HTTP client; completions: what is kept of an answer; errors: what failures mean
"""
