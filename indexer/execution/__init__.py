"""Do many independent pieces of work: in this process, or as tasks on Ray."""
