"""From raw label triplets to the splits of every recipe: ours beside plain pandas. See README.md."""
