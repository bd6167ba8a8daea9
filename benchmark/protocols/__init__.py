"""How an init meets a task: one module per protocol."""
