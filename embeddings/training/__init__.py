"""Training of the network of view `resnet` to recognise copies."""
