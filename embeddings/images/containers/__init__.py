"""Files that hold many pictures: arrays, archives, tables. Their members are read in place, one by one."""
