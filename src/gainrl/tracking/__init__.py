"""MLflow: the store, names in it, and what a stage records. Nothing else imports it."""
