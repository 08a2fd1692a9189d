"""What runs a pipeline: stages, why they must run, their tables and manifests."""
