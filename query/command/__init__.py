"""What only the command line needs: options, progress, messages, tables, and the smaller commands."""
