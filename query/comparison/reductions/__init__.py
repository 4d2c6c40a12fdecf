"""Reductions over all real-generated pairs: fed by shards of the generated side, mergeable."""
