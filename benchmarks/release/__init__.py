"""Size and time of a release at full scale."""
