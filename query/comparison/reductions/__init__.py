"""Everything that needs all pairs of real and generated images: reductions over shards of the generated side, mergeable."""
