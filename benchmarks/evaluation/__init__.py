"""Speed of the evaluation beside a plain transformers and peft loop, on one machine in one run. See README.md."""
