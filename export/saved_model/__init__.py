"""Contents of a SavedModel: one frozen function, and encoded images decoded inside."""
