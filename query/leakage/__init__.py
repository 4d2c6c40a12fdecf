"""Training against hold-out images: how much leaked, and which generated images to withhold."""
