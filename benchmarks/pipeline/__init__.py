"""From raw label triplets to the splits of every recipe: ours compared with plain pandas. See README.md."""
