"""The views, one file each: `phash`, `resnet`, `pixels`, `sift`."""
