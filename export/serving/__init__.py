"""Files for TF Serving beside a SavedModel, and clients of it."""
