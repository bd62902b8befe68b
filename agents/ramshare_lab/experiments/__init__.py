"""What is proved and measured in the lab, a folder each: the scenario, its results, its command."""
