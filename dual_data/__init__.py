"""Build, audit, release and evaluate the DUAL benchmark for LLM unlearning."""

__version__ = "0.1.0"
