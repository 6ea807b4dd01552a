"""Models: encoders (pictures → features), temporal models (features → outputs), and bundles."""
