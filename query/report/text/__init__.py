"""Results as text: the sentences and tables that people read."""
