"""The views, one embedder a file: `phash`, `resnet`, `pixels`, `sift`."""
