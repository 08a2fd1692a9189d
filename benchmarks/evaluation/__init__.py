"""Speed of the evaluation compared with a plain transformers and peft loop, on one machine in one run. See README.md."""
