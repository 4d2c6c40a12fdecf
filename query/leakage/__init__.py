"""Training-data leakage against a hold-out set, and the filter that withholds generated images."""
