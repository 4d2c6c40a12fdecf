"""Decode DICOM to 8-bit grey: header, pixels, lookup tables and display, in the order of the standard's greyscale pipeline."""
