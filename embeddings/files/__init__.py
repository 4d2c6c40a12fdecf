"""Files are written and read: whole or not at all, for their owner only, whoever wrote them before."""
