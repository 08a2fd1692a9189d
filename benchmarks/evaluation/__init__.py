"""Speed of the evaluation compared with a plain loop of transformers and peft, on one machine. See README.md."""
