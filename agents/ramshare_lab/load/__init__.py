"""What memory and disks are loaded with: the paper's microbenchmark with checked pages, and fio."""
