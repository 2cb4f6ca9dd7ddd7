"""What happens on a client: local training and evaluation, without Ray."""
