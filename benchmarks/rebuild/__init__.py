"""A rehearsal of the whole rebuild at full size, against services that throttle, cut and fail."""
