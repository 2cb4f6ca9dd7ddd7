"""What is trained: modules, their flat vectors, tasks and metrics."""
