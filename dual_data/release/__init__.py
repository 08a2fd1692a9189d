"""From a build to a dataset that people can load, cite, check and compare: the Hub tree, its card, its hashes."""
