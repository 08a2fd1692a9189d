"""A release as the files that other people's programs read."""
