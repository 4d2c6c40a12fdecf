"""What is known of the real images: their pixels and their groups."""
