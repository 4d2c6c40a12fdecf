"""Methods of the ImageCLEFmedical GANs task of 2023, reimplemented."""
