"""The commands, one file for each group: parse options, call the library, print."""
