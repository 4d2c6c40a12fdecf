"""The methods that score real images by their distances to generated ones."""
